"""The report of an annotation: what answers took, rejections by kind, and a page that runs nothing."""

import re

from recorded import gold_paths

from sgd_hf.core.records import to_row
from sgd_hf.corpus.annotate import annotation
from sgd_hf.corpus.quality import Tally, print_summary, usage, write_page
from sgd_hf.corpus.spending import Budget
from sgd_hf.corpus.teachers import RuleTeacher, written

EVIL = "1. <script>alert('1')</script>\n- & nothing else"


def answer(began, seconds, prompt=100, completion=10, attempt=0):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": 50,
        "began": began,
        "seconds": seconds,
        "attempt": attempt,
    }


def test_usage_counts_time_once_however_many_questions_were_open_and_no_pause_between_runs():
    found = usage([answer(100, 4), answer(102, 4), answer(103, 1, attempt=1), answer(9000, 2)], 3, Budget(price_in=1, price_out=100))
    assert (found["answers"], found["re_asks"], found["seconds"], found["tokens_per_second"]) == (4, 1, 8.0, 5.0)
    assert (found["prompt_tokens"], found["completion_tokens"], found["cached_tokens"]) == (400, 40, 200)
    assert (found["cost"], found["cost_per_trajectory"], found["tokens_per_trajectory"]) == (0.0044, 0.001467, 146.7)
    assert usage([], 0, Budget())["cost"] is None


def test_the_page_and_the_tables_show_what_was_counted_and_run_nothing(tmp_path, capsys):
    tally, rows = Tally(), []
    for number, gold in enumerate(gold_paths()[:6]):
        found = annotation(gold, EVIL.replace("1", str(number + 3)) if number % 3 == 2 else written(gold), RuleTeacher())
        tally.add(found, "re-ask" if number == 0 else "")
        rows.append({"key": found.key, **to_row(found)})
    summary = tally.summary([answer(0, 1)], Budget(price_in=1))
    assert (summary["accepted"], summary["rejected"], summary["repaired"]) == (4, 2, {"re-ask": 1}) and 0 < summary["coverage"] < 1
    assert list(summary["reasons"].values()) == [2]  # one kind, whatever the numbers and names in it
    write_page(tmp_path / "page.html", {"teacher": "<b>", "teacher_revision": "", "prompt_version": "none", "gold": "0"}, summary, rows)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "Annotations by &lt;b&gt;" in page and "default-src 'none'" in page
    assert page.count("<details") == len({row["gold"]["episode"]["task"] for row in rows if not row["reason"]}) + 2
    assert not re.search(r"(src|href)=", page)
    print_summary(summary)
    said = capsys.readouterr().out
    assert "re-asks" in said and "100 read" in said and "rejected 2" in said and "cost: 0.0001" in said
