"""The checkup on the page of a machine, in a real browser."""

from tests.serve.serving import sound
from tests.serve.test_bank_health import fill_hours
from tests.serve.test_page import UPLOAD, at_home, chromium, shift

__all__ = ["chromium", "shift"]


def test_the_page_says_whether_the_bank_is_still_good(shift):
    page, client, service = shift
    client.post(UPLOAD, content=sound(seed=5))
    fill_hours(service, rise=0.7)
    page.open(f"{client.base_url}/")
    page.click(".machine")
    page.click("[data-key=checkup]")
    page.one(".findings li[data-kind=sudden] details[open]")
    assert "Something needs a look" in page.text("section[aria-label='Is the bank still good?']")
    assert "Next:" in page.text(".findings")
    at_home(page, client)
