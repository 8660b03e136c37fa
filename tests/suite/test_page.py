from fajita.suite.definition import load_suite
from fajita.suite.figure import draw
from fajita.suite.machine import describe_machine
from fajita.suite.page import as_html, markdown
from fajita.suite.run import Result
from tests.suite.suites import write


def result(tmp_path, **more):
    suite = load_suite(str(write(tmp_path)))
    ((_, experiment),) = suite.experiments
    rows = [
        {
            "chain": "one",
            "flows": flows,
            "tuning": tuning,
            "mpps": 2.5,
            "mpps_min": 2.0,
            "mpps_max": 3.0,
            "noisy": False,
        }
        for flows in (3, 20_000)
        for tuning in ("everything", "without prefetch")
    ]
    rows[0] |= more
    return suite, Result(experiment, rows)


def test_the_page_has_what_varies_what_was_measured_and_on_what(tmp_path):
    suite, one = result(tmp_path)
    machine = describe_machine()
    page = markdown(suite, machine, [one])
    assert page.startswith("# Few\n\nWhat a <suite> is like.\n")
    assert machine["processor"] in page
    assert "![Few flows](few-flows.png)" in page
    assert "| chain | flows | tuning | mpps |\n|---|---|---|---|\n| one | 3 | everything | 2.5 |" in page
    assert "| one | 20,000 | without prefetch | 2.5 |" in page
    assert "Noisy" not in page


def test_noise_is_said(tmp_path):
    suite, one = result(tmp_path, noisy=True)
    one.load.stolen = 0.1
    page = markdown(suite, describe_machine(), [one])
    assert "**Noisy:** in 1 of 4 settings passes differ by more than a fifth." in page
    assert "**Noisy:** the hypervisor gave 10% of the time to others." in page


def test_the_html_stands_alone(tmp_path):
    suite, one = result(tmp_path)
    page = as_html(suite, describe_machine(), [one], {"few-flows": draw(one.experiment, one.rows)})
    assert "What a &lt;suite&gt; is like." in page
    assert 'src="data:image/png;base64,iVBOR' in page
    assert page.endswith("</html>\n")


def test_figures_are_drawn_of_numbers_and_of_names(tmp_path):
    _, one = result(tmp_path)
    named = one.experiment.model_copy(
        update={"figure": one.experiment.figure.model_copy(update={"x": "tuning", "lines": "flows"})}
    )
    for experiment in (one.experiment, named):
        assert draw(experiment, one.rows).startswith(b"\x89PNG")


def test_what_has_no_figure_leaves_a_gap(tmp_path):
    _, one = result(tmp_path)
    assert one.experiment.paper
    for gaps in (1, len(one.rows)):
        rows = [row | {"mpps": None} if number < gaps else row for number, row in enumerate(one.rows)]
        assert draw(one.experiment, rows).startswith(b"\x89PNG")
