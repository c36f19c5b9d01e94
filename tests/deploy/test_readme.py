"""README's tables."""

from deploy.readme import README, tables, with_tables


def test_the_tables_in_the_readme_are_those_of_the_code():
    """`make readme` writes them."""
    readme = README.read_text(encoding="utf-8")
    assert with_tables(readme) == readme


def test_no_cell_is_empty_where_exchanges_are_told_of():
    cells = [
        cell.strip()
        for name in ("Exchanges", "Feeds")
        for row in tables()[name].splitlines()
        for cell in row.strip("|").split("|")
    ]
    assert all(cells)
