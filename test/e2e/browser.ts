import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { missingPackage } from '../package.ts';

/** Debian's own; no browser is downloaded. */
const path = '/usr/bin/chromium';

/** Why tests of the page are skipped: see `missingPackage`. */
export const noBrowser: string | false = missingPackage('chromium', existsSync(path));

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: path,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-dev-shm-usage',
      '--no-first-run',
    ],
  });
}

/** A tab, and what must not happen in it: broken rules of the page's own policy, failures of its scripts. */
export interface Tab {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly wrong: string[];
}

export async function openTab(
  browser: Browser,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<Tab> {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const wrong: string[] = [];
  page.on('pageerror', error => wrong.push(`script: ${error.message}`));
  page.on('dialog', dialog => wrong.push(`dialog: ${dialog.message()}`));
  page.on('console', message => {
    if (/content security policy|trusted ?type|refused to/i.test(message.text())) {
      wrong.push(`policy: ${message.text()}`);
    }
  });
  page.on('request', request => {
    const url = new URL(request.url());
    if (url.protocol !== 'blob:' && url.hostname !== '127.0.0.1') {
      wrong.push(`asked ${url.href}`);
    }
  });
  return { page, context, wrong };
}

/** What a reader of the page could not use: controls and images without a name, text without contrast, a page too wide. */
export const shortcomings = `(() => {
  const found = [];
  const visible = node => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !node.closest('.visually-hidden, [hidden], .skip');
  const nameOf = node =>
    node.getAttribute('aria-label') || node.textContent.trim() || node.getAttribute('alt') || node.title ||
    [...(node.labels ?? [])].map(label => label.textContent.trim()).join('');
  for (const node of document.querySelectorAll('a[href], button, input, select, textarea, summary, [role=meter]')) {
    if (visible(node) && !nameOf(node)) found.push('no name: ' + node.outerHTML.slice(0, 120));
  }
  for (const node of document.querySelectorAll('img')) {
    if (!node.hasAttribute('alt')) found.push('no alt: ' + node.outerHTML.slice(0, 120));
  }
  const ids = [...document.querySelectorAll('[id]')].map(node => node.id);
  for (const id of ids.filter((one, at) => ids.indexOf(one) !== at)) found.push('twice: #' + id);
  const h1 = [...document.querySelectorAll('h1')].filter(visible);
  if (h1.length !== 1 && !document.querySelector('main.opened')) found.push(h1.length + ' main headings');
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(one => one / 255).map(one => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)).reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || seen.has(node) || !visible(node) || node.closest('[aria-hidden=true], :disabled')) continue;
    seen.add(node);
    const style = getComputedStyle(node);
    const [a, b] = [light(rgba(style.color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) found.push('contrast ' + ratio.toFixed(2) + ': ' + node.textContent.slice(0, 40));
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push('wider than the screen: ' + document.documentElement.scrollWidth);
  return found;
})()`;
