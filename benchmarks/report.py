"""Writes the tables and plots of RESULTS.md from results.json: none of their figures is typed.

    make bench-report, or python -m benchmarks.report --help

Between `<!-- figures: CASE -->` and `<!-- end -->` everything is replaced; the rest stays, and
the figures in it are typed by hand: those of the soak, and of what was tried.
"""

import json
import re
from pathlib import Path
from typing import Any

import click

from benchmarks.plots import PLOTS, plot
from benchmarks.table import markdown

HERE = Path(__file__).parent
_FIGURES = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str, results: dict[str, Any]) -> str:
    """RESULTS.md with these results; cases that they do not have stay as they are."""

    def replaced(match: re.Match[str]) -> str:
        begin, key, end = match.groups()
        case = results["cases"].get(key)
        return match[0] if case is None else f"{begin}\n{_section(key, case)}\n{end}"

    return _FIGURES.sub(replaced, text)


def _section(key: str, case: dict[str, Any]) -> str:
    machine = case["machine"]
    others = [machine.get(name) for name in ("janus", "mediasoup")]
    picture = f"\n![{case['title']}](plots/{key}.png)\n" if key in PLOTS else ""
    rounds = f" --rounds {case['rounds']}" if "rounds" in case else ""
    return (
        f"`python -m benchmarks.bench {key}{rounds} --seconds {case['seconds']:g}`"
        f"{'' if rounds else ', once'}, {case['measured_at'][:10]}, {case['took_s']:.0f} s, commit "
        f"{machine['commit']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}, "
        f"{machine['distribution']}, Python {machine['python']}, {machine['openssl']}"
        f"{''.join(f', {each}' for each in others if each)}; load average at its end "
        f"{machine['load_average'][0]:.1f}.\n\n{markdown(case['lines'])}{picture}"
    )


@click.command(help=__doc__)
@click.option(
    "--results",
    default=HERE / "out" / "results.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--into",
    default=HERE / "RESULTS.md",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="plots go into plots/ beside it",
)
def main(results: Path, into: Path) -> None:
    found = json.loads(results.read_text())
    into.write_text(rendered(into.read_text(), found))
    for path in plot(found, into.parent / "plots"):
        click.echo(path)
    click.echo(into)


if __name__ == "__main__":
    main()
