"""Rules are shortened by their times alone."""

import pytest

from tests.alerts import shortened


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("rate(x_total[5m])", "rate(x_total[5000ms])"),
        ("60 * sum_over_time(a:x:rate5m[1h:1m])", "1 * sum_over_time(a:x:rate5m[60000ms:1000ms])"),
        (
            "(a - min_over_time(a[1d:5m])) / 86400",
            "(a - min_over_time(a[1440000ms:5000ms])) / 1440",
        ),
        ("x[7d:1h] offset 1h30m", "x[10080000ms:60000ms] offset 90000ms"),
    ],
)
def test_ranges_steps_offsets_and_their_seconds_are_divided(long: str, short: str) -> None:
    assert shortened.expression(long, 60) == short


@pytest.mark.parametrize(
    "text",
    [
        'budget:x:max{period=~"....-[0-9]."} > 5',
        "86400 * days > 3600",
        'customer:x:increase1h_median7d{a="5m"}',
        "x > 0.1 and y >= 20",
    ],
)
def test_names_strings_and_other_numbers_stay_as_they_are(text: str) -> None:
    assert shortened.expression(text, 60) == text


def test_a_number_of_seconds_is_a_duration_only_beside_that_duration() -> None:
    assert shortened.expression("rate(x[5m]) > 60", 60) == "rate(x[5000ms]) > 60"
    assert shortened.expression("rate(x[5m]) * 300", 60) == "rate(x[5000ms]) * 5"


def test_rules_and_groups_last_shorter_and_are_else_the_same() -> None:
    rule = {
        "alert": "A",
        "expr": "rate(x[5m]) > 1",
        "for": "15m",
        "keep_firing_for": "1h",
        "labels": {"severity": "warning"},
        "annotations": {"summary": "In 5m"},
    }

    short = shortened.rules({"groups": [{"name": "g", "interval": "1m", "rules": [rule]}]}, 60)

    assert short == {
        "groups": [
            {
                "name": "g",
                "interval": "1000ms",
                "rules": [
                    {
                        **rule,
                        "expr": "rate(x[5000ms]) > 1",
                        "for": "15000ms",
                        "keep_firing_for": "60000ms",
                    }
                ],
            }
        ]
    }


def test_routes_wait_shorter_at_every_depth() -> None:
    long = {
        "receiver": "a",
        "group_wait": "30s",
        "routes": [{"receiver": "b", "repeat_interval": "2h"}],
    }

    short = shortened.route(long, 60)

    assert short == {
        "receiver": "a",
        "group_wait": "500ms",
        "routes": [{"receiver": "b", "repeat_interval": "120000ms"}],
    }
