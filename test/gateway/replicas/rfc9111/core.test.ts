import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Fields, field } from '../../../../src/gateway/replicas/fields.ts';
import { formatDate, parseDate } from '../../../../src/gateway/replicas/rfc9111/date.ts';
import {
  directivesOf,
  responseDirectives,
  seconds,
} from '../../../../src/gateway/replicas/rfc9111/directives.ts';
import { ageOf, lifetimeOf, type StoredHead } from '../../../../src/gateway/replicas/rfc9111/freshness.ts';
import { invalidated } from '../../../../src/gateway/replicas/rfc9111/invalidation.ts';
import { combine, partFields, rangeHolds, rangeOf } from '../../../../src/gateway/replicas/rfc9111/range.ts';
import { judge, onlyIfCached } from '../../../../src/gateway/replicas/rfc9111/reuse.ts';
import { mayStore } from '../../../../src/gateway/replicas/rfc9111/storable.ts';
import {
  conditional,
  conditionOf,
  confirmedBy,
  notModifiedFields,
  updated,
} from '../../../../src/gateway/replicas/rfc9111/validation.ts';
import { selects, varyKey, varyNames } from '../../../../src/gateway/replicas/rfc9111/vary.ts';

const now = Date.UTC(2026, 5, 1, 12);
const date = (offset = 0) => formatDate(now + offset * 1000);
const head = (headers: Fields, more: Partial<StoredHead> = {}): StoredHead => ({
  status: 200,
  headers: [['Date', date()], ...headers],
  requestTime: now,
  responseTime: now,
  invalid: false,
  ...more,
});
const upstream = { fresh: 'upstream' as const, override: [] };
const lifetime = (...headers: Fields) => lifetimeOf(head(headers));
const may = (
  response: Fields,
  { status = 200, request = [] as Fields, shared = false, replica = false, override = [] as string[] } = {},
) => mayStore(request, status, response, { shared, replica, override });

test('an HTTP date is one of three forms, strictly, and nothing Date.parse would be kind to', () => {
  const wanted = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const good of [
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
  ]) {
    assert.equal(parseDate(good, now), wanted, good);
  }
  for (const bad of [
    '0',
    '-1',
    '',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37 +0000',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun 06 Nov 1994 08:49:37 GMT',
    'Sun,06 Nov 1994 08:49:37 GMT',
    'sun, 06 nov 1994 08:49:37 gmt',
    'Sun, 06 Nov 1994 8:49:37 GMT',
    'Sun, 31 Feb 2026 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:49:37 GMT',
    'Sun, 06 Nov 94 08:49:37 GMT',
    '1994-11-06T08:49:37Z',
    'Sun Nov 06 08:49:37 GMT 1994',
  ]) {
    assert.equal(parseDate(bad, now), undefined, bad);
  }
  assert.equal(parseDate('Friday, 01-Jan-99 00:00:00 GMT', now), Date.UTC(1999, 0, 1));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), second =>
      assert.equal(parseDate(formatDate(second * 1000)), second * 1000),
    ),
  );
});

test('Age is the first member of the first line, and counts for nothing where it is no number', () => {
  const age = (...headers: Fields) => ageOf(head(headers), now);
  assert.equal(age(['Age', '7']), 7);
  assert.equal(age(['Age', '7, 100']), 7);
  assert.equal(age(['Age', '7'], ['Age', '100']), 7);
  for (const odd of ['abc', '-7', '7.5', '7s', '']) {
    assert.equal(age(['Age', odd]), 0, odd);
  }
  assert.equal(ageOf({ ...head([['Age', '7']]), requestTime: now - 3000 }, now + 10_000), 20);
  assert.equal(ageOf({ ...head([]), headers: [['Date', date(-60)]] }, now), 60);
  assert.equal(ageOf({ ...head([]), headers: [['Date', date(3600)]] }, now), 0);
});

test('a clock that was set back makes what is stored stale, not young', () => {
  assert.equal(ageOf({ ...head([]), responseTime: now + 3_600_000 }, now), Number.POSITIVE_INFINITY);
});

test('s-maxage before max-age before Expires; what cannot be read is stale', () => {
  assert.equal(lifetime(['Cache-Control', 'max-age=60, s-maxage=10'], ['Expires', date(99)]), 10);
  assert.equal(lifetime(['Cache-Control', 'MAX-AGE=60'], ['Expires', date(99)]), 60);
  assert.equal(lifetime(['Expires', date(99)]), 99);
  for (const bad of ['0', '-1', 'Thu, 01 Dec 1994', date(99).replace('GMT', 'UTC'), date(99).toLowerCase()]) {
    assert.equal(lifetime(['Expires', bad]), 0, bad);
  }
  for (const bad of ['max-age=abc', 'max-age=-1', 'max-age=1.5', 'max-age', 'max-age=']) {
    assert.equal(lifetime(['Cache-Control', bad], ['Expires', date(99)]), 0, bad);
  }
  assert.equal(lifetime(['Cache-Control', 'max-age="60"']), 60);
  assert.ok(lifetime(['Cache-Control', 'max-age=99999999999999999999']) > 1_000_000_000);
  assert.equal(lifetime(['Cache-Control', 'max-age=1'], ['Cache-Control', 'max-age=60']), 1);
});

test('a lifetime is guessed only for statuses that allow it, or where the answer is public', () => {
  const modified: Fields = [['Last-Modified', date(-1000)]];
  assert.equal(lifetimeOf(head(modified)), 100);
  assert.equal(lifetimeOf(head([['Last-Modified', date(-100 * 86_400)]])), 86_400);
  assert.equal(lifetimeOf(head(modified, { status: 302 })), 0);
  assert.equal(lifetimeOf(head([...modified, ['Cache-Control', 'public']], { status: 302 })), 100);
  assert.equal(lifetime(), 0);
});

test('CDN-Cache-Control is a structured field: valid it replaces the others, invalid it is ignored whole', () => {
  const expires: Fields = [
    ['Expires', date(999)],
    ['Cache-Control', 'max-age=5'],
  ];
  assert.equal(lifetime(['CDN-Cache-Control', 'max-age=60'], ...expires), 60);
  assert.equal(lifetime(['CDN-Cache-Control', 'must-revalidate'], ['Expires', date(999)]), 0);
  assert.equal(
    lifetime(['CDN-Cache-Control', 'max-age=60;x="a,b", foo=bar, q=1.5, b=:aGk=:, t=?1'], ...expires),
    60,
  );
  assert.equal(lifetime(['CDN-Cache-Control', 'max-age=1, max-age=60'], ...expires), 60);
  for (const bad of [
    'max-age=60,',
    'MAX-AGE=60',
    'max-age=60 60',
    'max-age= 60',
    'max-age=60, foo="',
    '"a"',
    'max-age=06x;',
    '',
  ]) {
    assert.equal(lifetime(['CDN-Cache-Control', bad], ...expires), 5, bad);
  }
  assert.equal(
    seconds(responseDirectives([['CDN-Cache-Control', 'max-age=?0, max-age']]).directives, 'max-age'),
    0,
  );
});

test('directives know no case, may be quoted, and may have commas in their quotes', () => {
  const found = directivesOf('No-Cache="Set-Cookie, X", foo=bar ,, Max-Age="3"');
  assert.deepEqual(
    [...found],
    [
      ['no-cache', 'Set-Cookie, X'],
      ['foo', 'bar'],
      ['max-age', '3'],
    ],
  );
});

test('what is stored is used as long as the answer and the request allow', () => {
  const at = (headers: Fields, request: Fields = [], age = 10) =>
    judge(head(headers), request, now + age * 1000, upstream);
  const minute: Fields = [['Cache-Control', 'max-age=60']];
  assert.equal(at(minute).fresh, true);
  assert.equal(at(minute, [], 60).fresh, false);
  assert.equal(at([['Cache-Control', 'max-age=60, No-Cache']]).fresh, false);
  assert.equal(at(minute, [['Cache-Control', 'no-cache']]).fresh, false);
  assert.equal(at(minute, [['Pragma', 'no-cache']]).fresh, false);
  assert.equal(
    at(minute, [
      ['Pragma', 'no-cache'],
      ['Cache-Control', 'max-stale'],
    ]).fresh,
    true,
  );
  assert.equal(at(minute, [['Cache-Control', 'max-age=5']]).fresh, false);
  assert.equal(at(minute, [['Cache-Control', 'max-age=0']]).fresh, false);
  assert.equal(at(minute, [['Cache-Control', 'min-fresh=50']]).fresh, true);
  assert.equal(at(minute, [['Cache-Control', 'min-fresh=51']]).fresh, false);
  assert.equal(at(minute, [['Cache-Control', 'max-stale=10']], 65).fresh, true);
  assert.equal(at(minute, [['Cache-Control', 'max-stale=1']], 65).fresh, false);
  assert.equal(
    at([['Cache-Control', 'max-age=60, must-revalidate']], [['Cache-Control', 'max-stale']], 65).fresh,
    false,
  );
  assert.equal(judge(head(minute, { invalid: true }), [], now, upstream).fresh, false);
  assert.equal(judge(head([]), [], now + 5000, { fresh: 10_000, override: [] }).fresh, true);
  assert.equal(onlyIfCached([['Cache-Control', 'only-if-cached']]), true);
});

test('a stale answer stands in for an error only where nothing forbids it', () => {
  const stands = (control: string, override: string[] = []) =>
    judge(head([['Cache-Control', control]]), [], now + 100_000, { fresh: 'upstream', override }).onError;
  assert.equal(stands('max-age=1'), true);
  for (const strict of ['must-revalidate', 'proxy-revalidate', 's-maxage=1', 'no-cache', 'no-store']) {
    assert.equal(stands(`max-age=1, ${strict}`), false, strict);
  }
  assert.equal(stands('max-age=1, must-revalidate', ['must-revalidate']), true);
  assert.equal(stands('no-cache', ['no-cache']), true);
  const swr = judge(
    head([['Cache-Control', 'max-age=1, stale-while-revalidate=10']]),
    [],
    now + 5000,
    upstream,
  );
  assert.deepEqual([swr.fresh, swr.whileRevalidate], [false, true]);
});

test('what may be stored: not what anybody forbids, not what is somebody else’s, and of statuses the right ones', () => {
  const long: Fields = [['Cache-Control', 'max-age=60']];
  assert.equal(may(long), true);
  assert.equal(may([]), true);
  assert.equal(may([], { status: 302 }), false);
  assert.equal(may(long, { status: 302 }), true);
  assert.equal(may([['Cache-Control', 'public']], { status: 302 }), true);
  assert.equal(may([['Cache-Control', 'max-age=60, NO-STORE']]), false);
  assert.equal(may([['Cache-Control', 'no-store']], { override: ['no-store'] }), true);
  assert.equal(may(long, { request: [['Cache-Control', 'no-store']] }), false);
  assert.equal(may([...long, ['Vary', '*']]), false);
  for (const status of [100, 103, 304, 416]) {
    assert.equal(may(long, { status }), false, String(status));
  }
  assert.equal(may([['Cache-Control', 'max-age=60, private']]), true);
  assert.equal(may([['Cache-Control', 'max-age=60, private']], { shared: true }), false);
  assert.equal(may([...long, ['Set-Cookie', 'a=1']], { shared: true }), false);
  const authorized = { shared: true, request: [['Authorization', 'Basic x']] as Fields };
  assert.equal(may(long, authorized), false);
  for (const open of ['public', 's-maxage=1', 'must-revalidate']) {
    assert.equal(may([['Cache-Control', `max-age=60, ${open}`]], authorized), true, open);
  }
  for (const status of [401, 403, 429, 500, 503]) {
    assert.equal(may(long, { status, replica: true }), false, String(status));
  }
  assert.equal(may(long, { status: 599 }), true);
});

test('must-understand: a status whose meaning is known beats no-store, an unknown one is not kept', () => {
  const control: Fields = [['Cache-Control', 'max-age=60, no-store, must-understand']];
  assert.equal(may(control), true);
  assert.equal(may(control, { status: 298 }), false);
  assert.equal(may([['Cache-Control', 'max-age=60']], { status: 298 }), true);
});

test('a part is kept only where it can be told what it is a part of', () => {
  const part: Fields = [
    ['Content-Range', 'bytes 0-1/4'],
    ['ETag', '"a"'],
    ['Cache-Control', 'max-age=60'],
  ];
  assert.equal(may(part, { status: 206 }), true);
  assert.equal(may(part.slice(0, 1), { status: 206 }), false);
  assert.equal(
    may(
      [
        ['Content-Range', 'bytes 0-1/*'],
        ['ETag', '"a"'],
      ],
      { status: 206 },
    ),
    false,
  );
});

test('Vary: a credential that an answer depends on is not written down, and is told from others all the same', () => {
  const key = varyKey(['authorization', 'cookie'], [['Authorization', 'Bearer s3cret']]);
  assert.ok(!key.includes('s3cret'));
  assert.equal(selects(key, [['authorization', 'Bearer s3cret']]), true);
  assert.equal(selects(key, [['authorization', 'Bearer other']]), false);
  assert.equal(selects(key, []), false);
});

test('Vary: the same fields with the same values, spelling of lists aside; * is like no other request', () => {
  const names = varyNames([
    ['Vary', 'Accept-Language, ACCEPT'],
    ['vary', 'x'],
  ]) as readonly string[];
  assert.deepEqual(names, ['accept', 'accept-language', 'x']);
  const key = varyKey(names, [
    ['Accept', 'a,b'],
    ['Accept-Language', 'de'],
  ]);
  assert.equal(
    selects(key, [
      ['accept-language', 'de'],
      ['ACCEPT', 'a ,  b'],
    ]),
    true,
  );
  assert.equal(
    selects(key, [
      ['Accept', 'a'],
      ['accept', 'b'],
      ['Accept-Language', 'de'],
    ]),
    true,
  );
  assert.equal(
    selects(key, [
      ['Accept', 'a,b'],
      ['Accept-Language', 'en'],
    ]),
    false,
  );
  assert.equal(
    selects(key, [
      ['Accept', 'a,b'],
      ['Accept-Language', 'de'],
      ['X', ''],
    ]),
    false,
  );
  assert.equal(varyNames([['Vary', 'Accept, *']]), undefined);
  assert.equal(selects(varyKey([], []), [['Anything', '1']]), true);
});

test('validation sends every entity tag that is stored, and the date of the one that would be sent', () => {
  const stored: Fields[] = [
    [['ETag', '"a"']],
    [
      ['ETag', 'W/"b"'],
      ['Last-Modified', date(-5)],
    ],
    [],
  ];
  const sent = conditional(
    [
      ['If-None-Match', '"mine"'],
      ['If-Modified-Since', date()],
      ['X', '1'],
    ],
    stored,
    stored[1],
  );
  assert.deepEqual(sent, [
    ['X', '1'],
    ['If-None-Match', '"a", W/"b"'],
    ['If-Modified-Since', date(-5)],
  ]);
});

test('a 304 says by its validator which stored answer it confirms', () => {
  const stored: Fields[] = [[['ETag', '"a"']], [['ETag', 'W/"b"']], [['Last-Modified', date(-5)]]];
  assert.equal(confirmedBy([['ETag', '"a"']], stored, 1), 0);
  assert.equal(confirmedBy([['ETag', '"b"']], stored, 0), 1);
  assert.equal(confirmedBy([['ETag', '"c"']], stored, 0), -1);
  assert.equal(confirmedBy([['Last-Modified', date(-5)]], stored, 2), 2);
  assert.equal(confirmedBy([['Last-Modified', date(-4)]], stored, 2), -1);
  assert.equal(confirmedBy([], stored, 1), 1);
});

test('a 304 changes every field but those that belong to the bytes', () => {
  const stored: Fields = [
    ['Content-Length', '3'],
    ['Content-Encoding', 'gzip'],
    ['Content-Type', 'text/plain'],
    ['X-A', '1'],
    ['X-A', '2'],
    ['Keep', 'k'],
    ['Date', date()],
  ];
  const update: Fields = [
    ['content-length', '0'],
    ['Content-Encoding', 'br'],
    ['Content-Range', 'bytes 0-0/1'],
    ['Content-Type', 'text/html'],
    ['x-a', '9'],
    ['Date', date(60)],
    ['New', 'n'],
  ];
  const now_ = updated(stored, update);
  assert.deepEqual(
    ['content-length', 'content-encoding', 'content-range', 'content-type', 'x-a', 'keep', 'date', 'new'].map(
      name => field(now_, name),
    ),
    ['3', 'gzip', undefined, 'text/html', '9', 'k', date(60), 'n'],
  );
  assert.equal(now_.filter(([name]) => name.toLowerCase() === 'x-a').length, 1);
});

test('a client’s conditions are answered here: tags win over dates, weakly, in lists; If-Match strongly', () => {
  const stored: Fields = [
    ['ETag', '"a"'],
    ['Last-Modified', date(-100)],
    ['Content-Type', 'x'],
    ['Content-Location', '/x'],
  ];
  const ask = (...request: Fields) => conditionOf(request, 200, stored, now);
  assert.equal(ask(), 'send');
  for (const tag of ['"a"', 'W/"a"', '"x", "a"', '"x,y",W/"a"', '*']) {
    assert.equal(ask(['If-None-Match', tag]), 'not-modified', tag);
  }
  assert.equal(ask(['If-None-Match', '"b"'], ['If-Modified-Since', date()]), 'send');
  assert.equal(ask(['If-None-Match', '"b"'], ['If-None-Match', '"a"']), 'not-modified');
  assert.equal(ask(['If-Modified-Since', date(-100)]), 'not-modified');
  assert.equal(ask(['If-Modified-Since', date(-101)]), 'send');
  assert.equal(ask(['If-Modified-Since', 'yesterday']), 'send');
  assert.equal(conditionOf([['If-Modified-Since', date()]], 200, [['Date', date(-1)]], now), 'not-modified');
  assert.equal(conditionOf([['If-None-Match', '"a"']], 404, stored, now), 'send');
  assert.equal(ask(['If-Match', 'W/"a"']), 'failed');
  assert.equal(ask(['If-Match', '"x", "a"']), 'send');
  assert.equal(ask(['If-Unmodified-Since', date(-200)]), 'failed');
  assert.deepEqual(
    notModifiedFields(stored).map(([name]) => name),
    ['ETag', 'Last-Modified', 'Content-Location'],
  );
});

test('one range is served from the whole; what cannot be read, or several at once, gets the whole', () => {
  const of = (range: string, total = 10) => rangeOf(range, total);
  assert.deepEqual(of('bytes=2-4'), { first: 2, last: 4 });
  assert.deepEqual(of('Bytes=2-'), { first: 2, last: 9 });
  assert.deepEqual(of('bytes=-3'), { first: 7, last: 9 });
  assert.deepEqual(of('bytes=-30'), { first: 0, last: 9 });
  assert.deepEqual(of('bytes=5-99'), { first: 5, last: 9 });
  for (const whole of ['bytes=0-1,4-5', 'bytes=4-2', 'items=0-1', 'bytes=', 'bytes=a-b', 'bytes=-', '']) {
    assert.equal(of(whole), undefined, whole);
  }
  for (const outside of ['bytes=10-', 'bytes=10-12', 'bytes=-0']) {
    assert.equal(of(outside), 'unsatisfiable', outside);
  }
  assert.equal(of('bytes=0-', 0), 'unsatisfiable');
  const stored: Fields = [
    ['ETag', '"a"'],
    ['Last-Modified', date(-5)],
  ];
  assert.equal(rangeHolds([['If-Range', '"a"']], stored), true);
  assert.equal(rangeHolds([['If-Range', 'W/"a"']], stored), false);
  assert.equal(rangeHolds([['If-Range', date(-5)]], stored), true);
  assert.equal(rangeHolds([['If-Range', date()]], stored), false);
  const fields = partFields(
    [
      ['Content-Length', '10'],
      ['X', '1'],
    ],
    { first: 2, last: 4 },
    10,
  );
  assert.deepEqual([field(fields, 'content-range'), field(fields, 'content-length')], ['bytes 2-4/10', '3']);
});

test('parts that touch become one, and a hole keeps them apart', () => {
  const whole = Uint8Array.from({ length: 20 }, (_, at) => at);
  const segment = (first: number, last: number) => ({
    part: { first, last, total: 20 },
    bytes: whole.slice(first, last + 1),
  });
  assert.equal(combine(segment(0, 4), segment(6, 9)), undefined);
  fc.assert(
    fc.property(fc.nat(19), fc.nat(19), fc.nat(19), fc.nat(19), (a, b, c, d) => {
      const one = segment(Math.min(a, b), Math.max(a, b));
      const other = segment(Math.min(c, d), Math.max(c, d));
      const both = combine(one, other);
      if (both !== undefined) {
        assert.deepEqual(both.bytes, whole.slice(both.part.first, both.part.last + 1));
        assert.equal(both.part.first, Math.min(a, b, c, d));
        assert.equal(both.part.last, Math.max(a, b, c, d));
      }
    }),
  );
});

test('a method that may change something puts its URL and those it names at the same origin in doubt, unless it failed', () => {
  const url = new URL('https://api.example/v1/notes?x=1');
  const names = (method: string, status: number, headers: Fields = []) =>
    invalidated(method, url, status, headers).map(({ href }) => href);
  assert.deepEqual(
    names('POST', 201, [
      ['Location', '/v1/notes/7'],
      ['Content-Location', 'other'],
    ]),
    [url.href, 'https://api.example/v1/notes/7', 'https://api.example/v1/other'],
  );
  assert.deepEqual(names('FROBNICATE', 204), [url.href]);
  assert.deepEqual(names('PUT', 302, [['Location', 'https://elsewhere.example/x']]), [url.href]);
  for (const failed of [400, 404, 412, 500]) {
    assert.deepEqual(names('DELETE', failed), []);
  }
  for (const safe of ['GET', 'HEAD', 'OPTIONS', 'TRACE']) {
    assert.deepEqual(names(safe, 200), []);
  }
});
