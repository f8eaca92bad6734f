import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startNotesOrigin } from '../sim/origins/notes.ts';
import { noBrowser, openBrowser, openTab } from './browser.ts';
import { eventually } from './clients.ts';
import { startDaemon } from './daemon.ts';
import { startNotesReplica } from './notes-replica.ts';

interface Message {
  readonly id: string;
  readonly from: string;
  readonly text: string;
  readonly inReplyTo?: string;
}

test('two hubs, a page on one of them: peers appear, messages cross, and a killed hub loses neither them nor the log-in', {
  skip: noBrowser,
  timeout: 240_000,
}, async t => {
  const data = await mkdtemp(join(tmpdir(), 'kos-page-'));
  t.after(() => rm(data, { recursive: true, force: true }));
  let near = await startDaemon({
    data,
    config: {
      hub: { name: 'Elm Street' },
      interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 }],
    },
  });
  t.after(() => near[Symbol.asyncDispose]());
  const [, mesh = ''] = (near.ready.interfaces.server ?? '').split(':');
  const [, web = ''] = new URL(near.ready.http).host.split(':');
  await using far = await startDaemon({
    config: {
      hub: { name: 'Mill Lane' },
      interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: Number(mesh) }],
    },
  });
  await using browser = await openBrowser();
  const { page, wrong } = await openTab(browser);
  const go = (place: string) => page.evaluate(`location.hash = '#/${place}'`);
  await page.goto(near.ready.http);
  await page.getByLabel('Owner token').fill(near.ready.ownerToken ?? '');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Elm Street' }).waitFor();
  await page.getByText(near.ready.lxmf).first().waitFor();
  await page.getByText(near.ready.mqtt).waitFor();
  await go('network');
  await page.getByRole('heading', { name: 'server' }).waitFor();
  await page.getByText('1 peer').waitFor();
  await go('peers');
  await page.getByRole('link', { name: 'Mill Lane' }).click({ timeout: 60_000 });
  const log = page.getByRole('log');
  const box = page.getByLabel('Message to Mill Lane');
  await box.fill('hello from the page');
  await box.press('Enter');
  await log.locator('summary').getByText('Delivered').waitFor({ timeout: 60_000 });
  const inbox = await far.call<{ items: { message: Message }[] }>('GET', '/v1/inbox?wait=30');
  const [got] = inbox.body.items.map(({ message }) => message);
  assert.equal(got?.text, 'hello from the page');
  await far.call('POST', '/v1/messages', {
    body: { to: got?.from, text: 'hello from the mill', inReplyTo: got?.id },
  });
  await log.getByText('hello from the mill').waitFor({ timeout: 60_000 });
  await log.locator('.quote').getByText('hello from the page').waitFor();

  await near.kill();
  await page.getByText('The hub does not answer.').waitFor({ timeout: 60_000 });
  await box.fill('written in the dark');
  await box.press('Enter');
  await log.getByText('Only here').waitFor();
  near = await startDaemon({
    data,
    config: {
      hub: { name: 'Elm Street' },
      listen: { http: `127.0.0.1:${web}` },
      interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: Number(mesh) }],
    },
  });
  await page.getByText('Live', { exact: true }).waitFor({ timeout: 60_000 });
  await page.getByText('The hub does not answer.').waitFor({ state: 'hidden' });
  await log.locator('summary').getByText('Delivered').nth(1).waitFor({ timeout: 60_000 });
  const all = await far.call<{ items: Message[] }>('GET', '/v1/messages');
  assert.equal(all.body.items.filter(({ text }) => text === 'written in the dark').length, 1);
  assert.deepEqual(wrong, []);
});

test('a replica whose cloud goes away is shown so, with what waits; a conflict is decided on the page', {
  skip: noBrowser,
  timeout: 240_000,
}, async () => {
  await using origin = await startNotesOrigin();
  const note = origin.add('alice', { title: 'first' });
  await using replica = await startNotesReplica(origin);
  for (const path of ['/notes', `/notes/${note.id}`]) {
    await eventually(`${path} is read`, async () => (await replica.call('GET', path)).status === 200, 60_000);
  }
  const { ready } = replica.daemon();
  await using browser = await openBrowser();
  const { page, wrong } = await openTab(browser);
  await page.goto(ready.http);
  await page.getByLabel('Owner token').fill(ready.ownerToken ?? '');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Replicas' }).click();
  await page.getByRole('heading', { name: 'Field notes' }).waitFor();
  await page.getByText('Online', { exact: true }).waitFor({ timeout: 60_000 });
  await origin.kill();
  assert.equal((await replica.call('PUT', `/notes/${note.id}`, { title: 'mine' })).status, 200);
  await page.getByText(`PUT /notes/${note.id}`).waitFor({ timeout: 60_000 });
  await page.getByText(/^(?:Offline|Not sure)$/).waitFor({ timeout: 60_000 });
  origin.edit('alice', note.id, { title: 'theirs' });
  await origin.revive();
  await page.getByText('Conflict', { exact: true }).waitFor({ timeout: 90_000 });
  await page.getByText(/"theirs"/).waitFor();
  await page.getByText(/"mine"/).waitFor();
  await page.getByRole('button', { name: 'Keep what was written here' }).click();
  await page.getByText('Conflict', { exact: true }).waitFor({ state: 'detached', timeout: 90_000 });
  const title = () => origin.notes().find(({ id }) => id === note.id)?.title;
  await eventually('the cloud has what was kept', async () => title() === 'mine', 60_000);
  assert.deepEqual(wrong, []);
});
