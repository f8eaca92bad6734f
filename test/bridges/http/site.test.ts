import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { openGateway } from '../gateway.ts';

const folder = join(import.meta.dirname, '../../../src/bridges/http/page');
const names = readdirSync(folder);
const placeOf = (name: string) => (name === 'index.html' ? '/' : `/page/${name}`);

test('every file of the page is served without a token, under the policy of the page', async () => {
  await using gateway = await openGateway();
  for (const name of names) {
    const answer = await fetch(`${gateway.url}${placeOf(name)}`);
    assert.equal(answer.status, 200, name);
    assert.equal(await answer.text(), readFileSync(join(folder, name), 'utf8'), name);
    const policy = answer.headers.get('content-security-policy') ?? '';
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
    assert.match(policy, /require-trusted-types-for 'script'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  }
  assert.equal((await fetch(`${gateway.url}/page/../site.ts`)).status, 404);
  assert.equal((await fetch(`${gateway.url}/page/%2e%2e%2fsite.ts`)).status, 404);
});

test('a file that is known already is not sent again, and goes over the wire packed', async () => {
  await using gateway = await openGateway();
  let wire = 0;
  for (const name of names) {
    const url = `${gateway.url}${placeOf(name)}`;
    const plain = await fetch(url, { headers: { 'accept-encoding': 'identity' } });
    assert.equal(plain.headers.get('content-encoding'), null);
    assert.equal(plain.headers.get('cache-control'), 'no-cache');
    const tag = plain.headers.get('etag') ?? '';
    const again = await fetch(url, { headers: { 'if-none-match': tag } });
    assert.equal(again.status, 304, name);
    await Promise.all([plain.text(), again.text()]);
    const packed = await gateway.listener.app.inject({
      url: placeOf(name),
      headers: { 'accept-encoding': 'gzip, br' },
    });
    assert.equal(packed.headers['content-encoding'], 'gzip', name);
    assert.deepEqual(gunzipSync(packed.rawPayload).toString(), readFileSync(join(folder, name), 'utf8'));
    wire += packed.rawPayload.length;
  }
  assert.ok(wire < 60_000, `${wire} bytes over the wire`);
});

test('nothing of the page comes from elsewhere or becomes markup', () => {
  for (const name of names) {
    const text = readFileSync(join(folder, name), 'utf8');
    assert.doesNotMatch(
      text,
      /innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function/,
      name,
    );
    assert.doesNotMatch(text.replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\/|@import|url\(/, name);
  }
  assert.doesNotMatch(
    readFileSync(join(folder, 'index.html'), 'utf8'),
    /<script(?![^>]*\bsrc=)|<style|\son\w+=/,
  );
});
