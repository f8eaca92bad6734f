import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { GatewayError } from '../../src/lib/errors.ts';
import { openGateway, type TestGateway } from '../bridges/gateway.ts';
import { type MemoryBridge, memoryBridge } from '../gateway/fixture.ts';
import { noBrowser, openBrowser, openTab, shortcomings } from './browser.ts';

const alice = `lxmf:${'a1'.repeat(16)}`;
const bob = `lxmf:${'b0'.repeat(16)}`;
/** A red and a green pixel, as PNG. */
const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAD0lEQVR4nGP4z8DA8J8BAAj+Af+E9TCfAAAAAElFTkSuQmCC';

let browser: Browser;
before(async () => {
  if (noBrowser === false) {
    browser = await openBrowser();
  }
});
after(async () => browser?.close());

interface Hub extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly lxmf: MemoryBridge;
  /** Until it is called nobody at the far side can be reached. */
  open(): Promise<void>;
}

async function openHub(): Promise<Hub> {
  const lxmf = memoryBridge();
  let reachable = false;
  lxmf.respond = () => {
    if (!reachable) {
      throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
    }
    return { state: 'delivered' };
  };
  const radio = {
    name: 'lora',
    kind: 'rnode',
    state: 'up' as const,
    bitrate: 3125,
    mtu: 508,
    rx: { packets: 12, bytes: 3400 },
    tx: { packets: 5, bytes: 1200, failed: 0 },
    airtime: { shortPercent: 1, longPercent: 2, limitPercent: 10, usedMs: 72_000, budgetMs: 360_000 },
  };
  const gateway = await openGateway({
    bridges: [lxmf],
    rooms: { plaza: { members: [alice] } },
    mesh: { announce: async () => true, interfaces: () => [radio] },
  });
  const port = await lxmf.port;
  port.seen(alice, { at: Date.now() - 60_000, name: 'Alice', hops: 1 });
  port.seen(bob, { at: Date.now() - 120_000, name: 'Bob', hops: 3 });
  return {
    gateway,
    lxmf,
    async open() {
      reachable = true;
      port.reachable(alice);
      port.reachable(bob);
    },
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

async function logIn(page: Page, { gateway }: Hub): Promise<void> {
  await page.goto(gateway.url);
  await page.getByLabel('Owner token').fill(gateway.hub.ownerToken);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
}

const go = (page: Page, place: string) => page.evaluate(`location.hash = '#/${place}'`);
const talkTo = (page: Page, address: string) => go(page, `messages/${encodeURIComponent(address)}`);
const options = { skip: noBrowser, timeout: 120_000 };

test('a wrong token is told, the right one opens the hub, and logging out closes it', options, async () => {
  await using hub = await openHub();
  const { page, context, wrong } = await openTab(browser);
  await page.goto(hub.gateway.url);
  await page.getByLabel('Owner token').fill('kos_wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').getByText('not known').waitFor();
  await logIn(page, hub);
  await page.getByRole('heading', { name: 'Test Street' }).waitFor();
  await page.getByText('Everything works').waitFor();
  assert.equal(await page.evaluate('document.cookie'), '', 'scripts see no cookie');
  const kept = await page.evaluate('JSON.stringify({ ...localStorage, ...sessionStorage })');
  assert.ok(!String(kept).includes('kos_'), 'the token is nowhere in the browser');
  await page.reload();
  await page.getByText('Everything works').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Owner token').waitFor();
  await page.reload();
  await page.getByLabel('Owner token').waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});

test(
  'a message is written, its states change as they happen, and an answer carries the relation',
  options,
  async () => {
    await using hub = await openHub();
    const { gateway, lxmf } = hub;
    const { page, context, wrong } = await openTab(browser);
    await logIn(page, hub);
    await page.getByRole('link', { name: 'Peers' }).click();
    await page.getByRole('link', { name: 'Bob' }).waitFor();
    await page.getByLabel('Search').fill('ali');
    await page.getByRole('link', { name: 'Bob' }).waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Alice' }).click();
    const box = page.getByLabel('Message to Alice');
    await box.fill('Are you there?');
    await box.press('Enter');
    const log = page.getByRole('log');
    await log.getByText('Are you there?').waitFor();
    await log.locator('summary').getByText('Queued').waitFor();
    await log.locator('summary').getByText('no path yet').waitFor();
    await log.getByText(/next attempt/).waitFor();
    await page.getByRole('link', { name: /Queue/ }).click();
    await page.getByRole('heading', { name: 'Queue' }).waitFor();
    await page.getByText('no path yet').waitFor();
    await page.getByText('Are you there?').waitFor();
    await talkTo(page, alice);
    await log.locator('summary').getByText('Queued').waitFor();
    await hub.open();
    await log.locator('summary').getByText('Delivered').waitFor();
    await lxmf.say({
      remoteId: 'a1',
      from: alice,
      to: `lxmf:${gateway.desk.hub.lxmf}`,
      text: '<img src=x onerror=alert(1)><b>Yes</b>, here',
    });
    await log.getByText('<img src=x onerror=alert(1)><b>Yes</b>, here').waitFor();
    assert.equal(await log.locator('img, b').count(), 0, 'what comes from the air is text');
    await lxmf.say({
      remoteId: 'a2',
      from: alice,
      to: `lxmf:${gateway.desk.hub.lxmf}`,
      text: 'a line\u2028another, \u202ebackwards',
    });
    await log.getByText(/another, .backwards/).waitFor();
    await log.getByRole('button', { name: 'Answer Alice' }).first().click();
    await box.fill('Good');
    await page.getByRole('button', { name: 'Send' }).click();
    await log.getByText('Good', { exact: true }).waitFor();
    await log.locator('summary').getByText('Delivered').nth(1).waitFor();
    const [question, answer] = lxmf.delivered.slice(-2).map(({ message }) => message);
    assert.equal(answer?.text, 'Good');
    assert.equal(answer?.to, alice);
    const known = (await lxmf.port).resolve('a1');
    assert.ok(known !== undefined && answer?.inReplyTo === known, `${question?.id} ${answer?.inReplyTo}`);
    assert.deepEqual(wrong, []);
    await context.close();
  },
);

test(
  'what one person wrote and nobody took is not sent in the name of the next to log in',
  options,
  async () => {
    await using hub = await openHub();
    const { gateway } = hub;
    const { page, context } = await openTab(browser);
    const { token } = await gateway.desk.clients.create({
      name: 'guest',
      scopes: ['messages:read', 'messages:send', 'mesh:read', 'peers:read'],
    });
    await logIn(page, hub);
    await talkTo(page, bob);
    const refuse = '**/v1/messages';
    await page.route(refuse, route =>
      route.request().method() === 'POST'
        ? route.fulfill({ status: 503, json: { detail: 'not now' } })
        : route.continue(),
    );
    const box = page.getByLabel('Message to Bob');
    await box.fill('my secret');
    await box.press('Enter');
    await page.getByText('Only here').waitFor();
    await page.evaluate("fetch('/v1/session', { method: 'DELETE', headers: { 'kos-page': '1' } })");
    await page.getByLabel('Owner token').waitFor();
    await page.unroute(refuse);
    await page.getByLabel('Owner token').fill(token);
    await page.keyboard.press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    // Longer than it takes until what nobody took is tried again.
    await page.waitForTimeout(6000);
    const { body } = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/messages?limit=50');
    assert.ok(!JSON.stringify(body).includes('my secret'));
    await page.evaluate("fetch('/v1/session', { method: 'DELETE', headers: { 'kos-page': '1' } })");
    await page.getByLabel('Owner token').waitFor();
    await logIn(page, hub);
    await talkTo(page, bob);
    await page.getByRole('log').locator('summary').getByText('Queued').waitFor();
    const { body: then } = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/messages?limit=50');
    const sent = then.items.filter(({ text }: { text: string }) => text === 'my secret');
    assert.deepEqual(
      sent.map(({ from }: { from: string }) => from),
      ['app:owner'],
    );
    await context.close();
  },
);

test('what waits is called back from the queue', options, async () => {
  await using hub = await openHub();
  const { gateway } = hub;
  const { page, context, wrong } = await openTab(browser);
  const sent = await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/messages', {
    to: bob,
    text: 'never mind',
  });
  await logIn(page, hub);
  await go(page, 'queue');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Really cancel' }).click();
  await page.getByText('Nothing waits').waitFor();
  const view = await gateway.call(gateway.hub.ownerToken, 'GET', `/v1/messages/${sent.body.id}`);
  assert.equal(view.body.deliveries[0].state, 'cancelled');
  assert.deepEqual(wrong, []);
  await context.close();
});

test('images are shown, other files are saved', options, async () => {
  await using hub = await openHub();
  const { gateway } = hub;
  await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/messages', {
    to: alice,
    text: 'look',
    attachments: [
      { name: 'two.png', mediaType: 'image/png', base64: png },
      { name: 'run.svg', mediaType: 'image/svg+xml', base64: btoa('<svg onload="alert(1)"/>') },
    ],
  });
  const { page, context, wrong } = await openTab(browser);
  await logIn(page, hub);
  await talkTo(page, alice);
  const image = page.getByRole('img', { name: 'two.png' });
  await image.waitFor();
  assert.equal(await image.evaluate(node => (node as unknown as { naturalWidth: number }).naturalWidth), 2);
  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save run.svg' }).click();
  assert.equal((await saved).suggestedFilename(), 'run.svg');
  assert.deepEqual(wrong, []);
  await context.close();
});

test(
  'without the hub the page says so, keeps what is written, and sends it once when the hub is back',
  options,
  async () => {
    await using hub = await openHub();
    await hub.open();
    const { page, context, wrong } = await openTab(browser);
    await logIn(page, hub);
    await talkTo(page, alice);
    const log = page.getByRole('log');
    await page.getByText('Nothing was said here yet.').waitFor();
    await page.route('**/v1/**', route => route.abort());
    await page.getByLabel('Message to Alice').fill('into the dark');
    await page.keyboard.press('Enter');
    await log.getByText('Only here').waitFor();
    // The stream ends, and is not let in again.
    await hub.gateway.call(undefined, 'GET', '/healthz');
    await page.evaluate('window.dispatchEvent(new Event("offline"))');
    await page.unroute('**/v1/**');
    await log.locator('summary').getByText('Delivered').waitFor({ timeout: 30_000 });
    await log.getByText('Only here').waitFor({ state: 'detached' });
    assert.equal(hub.lxmf.delivered.filter(({ message }) => message.text === 'into the dark').length, 1);
    assert.deepEqual(wrong, []);
    await context.close();
  },
);

test(
  'a page nobody looks at lets its stream go, and misses nothing when somebody looks again',
  options,
  async () => {
    await using hub = await openHub();
    const { gateway, lxmf } = hub;
    const { page, context, wrong } = await openTab(browser);
    await page.clock.install();
    await logIn(page, hub);
    await talkTo(page, alice);
    await page.getByText('Nothing was said here yet.').waitFor();
    const look = (state: string) =>
      page.evaluate(
        `Object.defineProperty(document, 'visibilityState', { value: '${state}', configurable: true });
       document.dispatchEvent(new Event('visibilitychange'))`,
      );
    await look('hidden');
    await page.clock.fastForward(61_000);
    await page.getByText('Paused', { exact: true }).waitFor();
    await lxmf.say({ remoteId: '1', from: alice, to: `lxmf:${gateway.desk.hub.lxmf}`, text: 'unseen' });
    await look('visible');
    await page.getByText('Live', { exact: true }).waitFor();
    await page.clock.runFor(1000);
    await page.getByRole('log').getByText('unseen').waitFor();
    assert.deepEqual(wrong, []);
    await context.close();
  },
);

test('a token is minted, shown once, and revoked; a token with fewer scopes sees less', options, async () => {
  await using hub = await openHub();
  const { page, context, wrong } = await openTab(browser);
  await logIn(page, hub);
  await go(page, 'access');
  await page.getByRole('textbox', { name: 'Name' }).fill('Bad Name');
  await page.getByRole('textbox', { name: 'Name' }).fill('board');
  await page.getByRole('button', { name: 'Make the token' }).click();
  await page.getByText('The token of board.').waitFor();
  const token = await page.locator('.made code').first().textContent();
  assert.match(token ?? '', /^kos_/);
  await page.getByRole('button', { name: 'I have it' }).click();
  await page.getByText('app:board').waitFor();
  const other = await openTab(browser);
  await other.page.goto(hub.gateway.url);
  await other.page.getByLabel('Owner token').fill(token ?? '');
  await other.page.keyboard.press('Enter');
  await other.page.getByRole('heading', { name: 'Messages' }).waitFor();
  assert.equal(await other.page.getByRole('link', { name: 'Access' }).count(), 0);
  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('button', { name: 'Really revoke' }).click();
  await other.page.getByText('The log-in has ended').waitFor();
  assert.deepEqual([...wrong, ...other.wrong], []);
  await context.close();
  await other.context.close();
});

test(
  'the browsers of a token are listed behind its name, and one is logged out from another',
  options,
  async () => {
    await using hub = await openHub();
    const { page, context, wrong } = await openTab(browser);
    await logIn(page, hub);
    const other = await openTab(browser, { userAgent: 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' });
    await logIn(other.page, hub);
    await page.getByRole('link', { name: 'owner' }).click();
    await page.getByText('This browser').waitFor();
    await page.getByText('Firefox on Linux').waitFor();
    await page
      .getByText(/logged in .* from 127\.0\.0\.1 · used .* · ends /)
      .first()
      .waitFor();
    assert.equal(
      await page.getByRole('button', { name: 'End it' }).count(),
      1,
      'not its own: that is Log out',
    );
    await page.getByRole('button', { name: 'End it' }).click();
    await page.getByRole('button', { name: 'Really end it' }).click();
    await other.page.getByText('The log-in has ended').waitFor();
    await page.getByText('Firefox on Linux').waitFor({ state: 'detached' });
    assert.deepEqual([...wrong, ...other.wrong], []);
    await context.close();
    await other.context.close();
  },
);

for (const [kind, width, colorScheme] of [
  ['a phone', 375, 'light'],
  ['a phone in the dark', 375, 'dark'],
  ['a desk', 1280, 'light'],
  ['a desk in the dark', 1280, 'dark'],
] as const) {
  test(`on ${kind} every page fits, names its controls and can be read`, options, async () => {
    await using hub = await openHub();
    const { gateway, lxmf } = hub;
    const owner = gateway.hub.ownerToken;
    await gateway.client('board', { rooms: ['plaza'] });
    await lxmf.say({
      remoteId: '1',
      from: alice,
      to: `lxmf:${gateway.desk.hub.lxmf}`,
      text: `long ${'x'.repeat(300)}`,
      assurance: 'unverified',
    });
    await gateway.call(owner, 'POST', '/v1/messages', { to: alice, text: 'hello' });
    gateway.hub.report(
      { name: 'uplink', state: 'waiting', since: 1, reason: 'refused', bugs: 0 },
      'interface.changed',
    );
    const { page, context, wrong } = await openTab(browser, {
      viewport: { width, height: 740 },
      colorScheme,
    });
    await page.goto(gateway.url);
    await page.getByLabel('Owner token').waitFor();
    assert.deepEqual(await page.evaluate(shortcomings), [], 'log-in');
    await logIn(page, hub);
    const places: [string, string][] = [
      ['', 'does not work'],
      ['messages', 'Alice'],
      [`messages/${encodeURIComponent(alice)}`, 'hello'],
      ['messages/new', 'New message'],
      ['peers', 'Bob'],
      ['queue', 'no path yet'],
      ['queue/failed', 'Nothing failed'],
      ['network', 'Airtime'],
      ['replicas', 'No replica'],
      ['access', 'app:board'],
      ['log-ins', 'This browser'],
    ];
    for (const [place, text] of places) {
      await go(page, place);
      await page.locator('main').getByText(text).filter({ visible: true }).first().waitFor();
      assert.deepEqual(await page.evaluate(shortcomings), [], place);
    }
    assert.deepEqual(wrong, []);
    await context.close();
  });
}

test('everything is done with the keyboard alone', options, async () => {
  await using hub = await openHub();
  const { page, context, wrong } = await openTab(browser);
  await page.goto(hub.gateway.url);
  await page.getByLabel('Owner token').waitFor();
  await page.keyboard.type(hub.gateway.hub.ownerToken);
  await page.keyboard.press('Enter');
  await page.getByText('Everything works').waitFor();
  const focused = () => page.evaluate('document.activeElement.textContent.trim()');
  const press = async (key: string, until: string) => {
    for (let turn = 0; turn < 40 && (await focused()) !== until; turn++) {
      await page.keyboard.press(key);
    }
    assert.equal(await focused(), until);
    const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
    assert.notEqual(outline, 'none', `the focus on ${until} is seen`);
  };
  await press('Tab', 'Skip to content');
  await press('Tab', 'Messages');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Messages' }).waitFor();
  assert.equal(await page.evaluate('document.activeElement.id'), 'main', 'reading goes on in the new page');
  await press('Tab', 'New');
  await page.keyboard.press('Enter');
  await page.getByLabel('To', { exact: true }).waitFor();
  await page.keyboard.type(alice.slice('lxmf:'.length));
  await page.keyboard.press('Enter');
  await page.getByLabel('Message to Alice').waitFor();
  await page.getByLabel('Message to Alice').focus();
  await page.keyboard.type('by hand');
  await page.keyboard.press('Enter');
  await page.getByRole('log').getByText('by hand').waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
});
