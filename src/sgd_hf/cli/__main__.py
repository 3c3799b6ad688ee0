from sgd_hf.cli import main

main()
