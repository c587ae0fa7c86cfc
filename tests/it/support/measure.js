// What the tests of the HTML report want to know of a page, as one value.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const root = document.documentElement;
  const overflow = () => root.scrollWidth - root.clientWidth;
  const closed = overflow();
  const pageHeight = root.scrollHeight;
  all('details').forEach((details) => { details.open = true; });

  const channels = (color) => {
    const found = color.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
    return found ? [+found[1], +found[2], +found[3], found[4] === undefined ? 1 : +found[4]] : null;
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color && color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!node.data.trim() || !box.width || !box.height) continue;
    const element = node.parentElement;
    const style = getComputedStyle(element);
    texts.push({
      text: node.data.trim().slice(0, 40),
      contrast: ratio(channels(style.color), behind(element)),
      size: parseFloat(style.fontSize),
    });
  }
  // Marks of a chart need less contrast than text, and some.
  const marks = all('.line, .dot, .bar, .day.backup, path.cross').map((mark) => {
    const style = getComputedStyle(mark);
    const color = channels(style.stroke) || channels(style.fill);
    const ground = mark.matches('.on .cross') ? channels(getComputedStyle(mark.parentElement.querySelector('.day')).fill) : behind(mark.closest('figure, section, td') || document.body);
    return color ? ratio(color, ground) : 21;
  });

  const least = (values) => values.length ? Math.min(...values) : 99;
  const drawings = all('svg:not([aria-hidden=true])');
  const named = (svg) => {
    const ids = (svg.getAttribute('aria-labelledby') || '').split(' ');
    return svg.getAttribute('role') === 'img' && ids.length === 2 &&
      ids.every((id) => id && document.getElementById(id)?.textContent.trim());
  };
  const ids = all('[id]').map((element) => element.id);
  const levels = all('h1,h2,h3,h4').map((heading) => +heading.tagName[1]);
  const spilled = all('main *').filter((element) => {
    if (element.closest('.scroll') || element.closest('svg')) return false;
    const box = element.getBoundingClientRect();
    return box.width && (box.right > root.clientWidth + 1 || box.left < -1);
  }).map((element) => `${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`);
  // Labels of one axis that lie on each other.
  const clashes = [];
  for (const plot of all('.plot')) {
    for (const kind of ['.x', '.y', '.v']) {
      const boxes = [...plot.querySelectorAll(`span${kind}`)].map((span) => [span.textContent, span.getBoundingClientRect()]);
      boxes.forEach(([text, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
        if (a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5) {
          clashes.push(`${text} / ${other}`);
        }
      }));
    }
  }
  return {
    overflow_closed: closed,
    overflow_open: overflow(),
    height: pageHeight,
    background: luminance(behind(document.body)),
    texts: texts.length,
    least_contrast: least(texts.map((text) => text.contrast)),
    faint: texts.filter((text) => text.contrast < 4.5),
    least_size: least(texts.map((text) => text.size)),
    least_mark_contrast: least(marks),
    drawings: drawings.length,
    unnamed: drawings.filter((svg) => !named(svg)).length,
    charts: all('figure').length,
    charts_without_table: all('figure').filter((figure) => !figure.querySelector('table') && !figure.querySelector('.note')).length,
    active: all('script,iframe,object,embed,img,link,form,input,base').length,
    handlers: all('*').filter((element) => [...element.attributes].some((attribute) => /^on/i.test(attribute.name))).length,
    links: all('[href]').map((element) => element.getAttribute('href')).filter((href) => !href.startsWith('#')),
    twice: ids.filter((id, at) => ids.indexOf(id) !== at),
    lang: root.lang,
    title: document.title,
    h1: all('h1').length,
    heading_jumps: levels.filter((level, at) => level > (at ? levels[at - 1] : 0) + 1).length,
    first_heading: (all('h1,h2')[0] || {}).textContent || '',
    positive_tabindex: all('[tabindex]').filter((element) => element.tabIndex > 0).length,
    unlabelled_regions: all('[role=region]').filter((element) => !element.getAttribute('aria-label')).length,
    unnamed_summaries: all('summary').filter((element) => !element.textContent.trim()).length,
    spilled, clashes,
    invisible: /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u001b]/.test(root.textContent),
  };
})()
