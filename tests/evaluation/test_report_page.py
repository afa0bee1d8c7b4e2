"""The HTML report in a headless Chromium: sorting, jumping to an image, and the common zoom."""

import re
import shutil

import pytest

from mmfusion.evaluation.report import evaluate_folders, summarize, write_html


@pytest.fixture
def report(fused_folders):
    methods = {'a': fused_folders / 'a', '</script><b>': fused_folders / 'b'}
    results, _ = evaluate_folders(fused_folders / 'ir', fused_folders / 'vi', methods, ['EN', 'MSE', 'MS_SSIM'])
    results.values['a']['EN']['00001D'] = float('nan')
    results.reasons.setdefault('a', {})['EN'] = {'00001D': 'made so by the test'}
    file = fused_folders / 'report.html'
    write_html(results, file)
    return results, file


def test_page_needs_nothing_else(report):
    text = report[1].read_text()
    assert not re.search(r'(?:src|href)\s*=\s*["\'](?!data:|#)', text.split('<script id="data"')[0])
    assert not re.search(r'https?://(?!www\.w3\.org/2000/svg)', text)
    assert text.count('</script>') == 2  # a method's name does not end the data


@pytest.fixture
def browser():
    """A headless Chromium; skips where it or selenium is not installed."""
    webdriver = pytest.importorskip('selenium.webdriver')
    binary, driver = shutil.which('chromium') or shutil.which('google-chrome'), shutil.which('chromedriver')
    if not (binary and driver):
        pytest.skip('chromium and chromedriver are not installed (Debian: chromium, chromium-driver)')
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ('headless=new', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'window-size=1300,1000'):
        options.add_argument(f'--{argument}')
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield page
    page.quit()


def test_sort_jump_and_zoom(report, browser):
    results, file = report
    browser.get(file.as_uri())
    assert [e for e in browser.get_log('browser') if e['level'] == 'SEVERE'] == []

    def find(css):
        return browser.find_elements('css selector', css)

    def methods():
        return [row.get_attribute('data-method') for row in find('#table tbody tr')]

    assert len(find('#table td')) == 2 * 5
    mean_rank = summarize(results)['mean_rank']
    by_rank = sorted(results.methods, key=mean_rank.get)
    assert methods() == by_rank
    find('#table th button')[0].click()
    assert methods() == ['a', '</script><b>']  # as given
    find('#table button[data-metric=rank]')[0].click()
    assert methods() == by_rank
    best = sorted(results.methods, key=lambda m: results.mean(m, 'MSE'))
    find('#table button[data-metric=MSE]')[0].click()
    assert methods() == best
    find('#table button[data-metric=MSE]')[0].click()
    assert methods() == best[::-1]
    assert len(find('.plot')) == 3
    assert len(find('.plot[data-metric=EN] path')) == 2

    def rows():
        return [row.get_attribute('data-image') for row in find('#rows .row')]

    def choose(select, value):
        find(f'#{select} option[value="{value}"]')[0].click()

    choose('sort-metric', 'MSE')
    worst_first = sorted(results.images, key=lambda i: -results.value('a', 'MSE', i))
    assert rows() == worst_first
    choose('sort-order', 'best')
    assert rows() == worst_first[::-1]
    choose('sort-metric', 'EN')
    assert rows()[-1] == '00001D'  # not defined: last

    choose('extreme-metric', 'MSE')
    find('#extreme-table tbody tr button')[1].click()
    assert find('.row.found')[0].get_attribute('data-image') == worst_first[0]

    def transforms():
        script = 'return [...document.querySelectorAll(".view")].map(v => [v.dataset.image, v.dataset.column,'
        found = browser.execute_script(script + 'v.querySelector("img").style.transform])')
        return {image + column: transform for image, column, transform in found}

    def click(element):
        # The bar that stays at the top may cover an element that was only just scrolled into view.
        browser.execute_script('arguments[0].scrollIntoView({block: "center"})', element)
        element.click()

    image = rows()[0]
    click(find('.row.found .view')[1])
    row = [t for k, t in transforms().items() if k.startswith(worst_first[0])]
    others = [t for k, t in transforms().items() if not k.startswith(worst_first[0])]
    assert len(row) == 4
    assert 'scale(4)' in row[0]
    assert len(set(row)) == 1  # the same region in every image of the row
    assert set(others) == {''}
    click(find('#link-rows')[0])
    click(find(f'.view[data-image="{image}"]')[0])
    assert len(set(transforms().values())) == 1
    click(find('#reset-zoom')[0])
    click(find('#link-rows')[0])
    assert set(transforms().values()) == {''}


def test_labels_of_costs_are_apart(fused_folders, browser):
    """Of methods that cost and rank the same, too; and all of them within the plot."""
    methods = {f'{name} of some length': fused_folders / name[0] for name in ('a', 'b', 'a2', 'b2', 'a3', 'b3', 'a4')}
    results, _ = evaluate_folders(fused_folders / 'ir', fused_folders / 'vi', methods, ['EN', 'MSE'])
    costs = {m: dict(parameters=5, flops=7, seconds=0.1, memory=9) for m in methods}
    costs['b of some length']['seconds'] = 0.15
    write_html(results, fused_folders / 'report.html', costs=costs)
    browser.get((fused_folders / 'report.html').as_uri())
    labels = [node.rect for node in browser.find_elements('css selector', '#cost-plot text[data-label]')]
    plot = browser.find_element('css selector', '#cost-plot svg').rect
    assert len(labels) == len(methods)
    for k, one in enumerate(labels):
        assert plot['x'] <= one['x']
        assert one['x'] + one['width'] <= plot['x'] + plot['width']
        for other in labels[:k]:
            across = min(one['x'] + one['width'], other['x'] + other['width']) - max(one['x'], other['x'])
            down = min(one['y'] + one['height'], other['y'] + other['height']) - max(one['y'], other['y'])
            assert across < 1 or down < 4, (one, other)  # a line is higher than its letters
