"""README's settings tables."""

from deploy.settings_tables import README, with_tables


def test_the_settings_in_the_readme_are_those_of_the_code():
    """`make readme` writes them."""
    readme = README.read_text(encoding="utf-8")
    assert with_tables(readme) == readme
