import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { missingProgram } from '../package.ts';
import { ensurePython } from '../venv.ts';
import { type Daemon, startDaemon } from './daemon.ts';

const run = promisify(execFile);

const python = await ensurePython({
  title: 'apprise 2.2.0, python-ntfy 0.11.4, ntfy-api 0.0.6, ntfpy 0.0.12 and android-sms-gateway 4.3.3',
  folder: join('py', 'legacy-2.2.0-4.3.3'),
  requirements: 'test/e2e/requirements-legacy.txt',
  minor: 10,
  tests: 'The tests with published clients of ntfy and SMS gateways',
});

/** A hub with everything for old programs turned on, what its log holds at the end, and who speaks to it. */
async function startHub() {
  const daemon = await startDaemon({
    config: {
      listen: { legacy: '127.0.0.1:0' },
      rooms: { alerts: { members: ['app:bob'] } },
      bridges: {
        http: {
          legacySend: true,
          sms: { numbers: { '+4915112345': 'app:bob', '+4915167890': 'room:alerts' } },
          ntfy: { topics: { door: 'app:alarm' } },
        },
      },
      log: 'trace',
    },
  });
  const mint = async (name: string) => {
    const { body } = await daemon.call<{ token: string }>('POST', '/v1/tokens', {
      body: { name, scopes: ['messages:read', 'messages:send'], rooms: ['alerts'] },
    });
    return body.token;
  };
  const bob = await mint('bob');
  const token = await mint('alarm');
  return { daemon, bob, token, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() };
}

interface Heard {
  readonly text: string;
  readonly title?: string;
  readonly priority: string;
  readonly data?: { readonly tags?: readonly string[]; readonly click?: string };
  readonly attachments: readonly { readonly name: string; readonly size: number }[];
}

async function heardBy(daemon: Daemon, token: string): Promise<readonly Heard[]> {
  const { body } = await daemon.call<{ items: { message: Heard }[] }>('GET', '/v1/inbox?limit=200', {
    token,
  });
  return body.items.map(({ message }) => message);
}

test('published clients of ntfy and of an SMS gateway work with another address and nothing else', async t => {
  if (python === undefined) {
    t.skip('no Python for them; on Debian: apt-get install python3 python3-venv python3-pip');
    return;
  }
  await using hub = await startHub();
  const { daemon, token, bob } = hub;
  const given = { http: daemon.ready.http, legacy: daemon.ready.legacy, token };
  const { stdout } = await run(
    python,
    [join(import.meta.dirname, 'legacy_clients.py'), JSON.stringify(given)],
    {
      timeout: 120_000,
    },
  );
  const steps = new Map(
    stdout
      .split('\n')
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line) as { step: string; value?: unknown; error?: string })
      .map(one => [one.step, one]),
  );
  // biome-ignore lint/suspicious/noExplicitAny: what other people's programs answer.
  const value = (step: string): any => {
    const one = steps.get(step);
    assert.equal(one?.error, undefined, `${step}: ${one?.error}`);
    return one?.value;
  };
  const error = (step: string) => String(steps.get(step)?.error);

  for (const step of ['basic', 'token', 'file', 'form']) {
    assert.match(value(`apprise ${step}`), /SUCCESS|^True$/i, step);
  }
  assert.match(value('apprise refused'), /FAILURE|^False$/i);
  assert.match(value('apprise delayed'), /FAILURE|^False$/i);
  const sent = value('python-ntfy send');
  assert.deepEqual(
    [sent.message, sent.priority, sent.tags, sent.actions.length, sent.content_type],
    ['from python-ntfy', 5, ['skull', 'a'], 2, 'text/markdown'],
  );
  assert.equal(value('python-ntfy file').attachment.size, 25);
  assert.deepEqual(
    value('python-ntfy cached')
      .map((one: { message: string }) => one.message)
      .sort(),
    ['You received a file: cellar.txt', 'from apprise', 'from python-ntfy', 'see the file', 'with a token'],
  );
  assert.match(error('python-ntfy email'), /400/);
  assert.equal(value('ntfy-api headers').click, 'https://example.org/c');
  assert.equal(value('ntfy-api json').actions.length, 1);
  assert.equal(value('ntfpy stream').length, 2);
  if (steps.has('aiontfy')) {
    const { account, got, priority, file, refused } = value('aiontfy');
    assert.deepEqual([account, priority, file, refused], ['alarm', 5, 'a.txt', 40301]);
    assert.deepEqual(got, [
      ['open', null],
      ['message', 'from aiontfy'],
      ['message', 'with a file'],
    ]);
  } else {
    t.diagnostic('aiontfy needs Python 3.12: what Home Assistant does was not tried');
  }

  const [first, again, asked, other] = value('smsgate send');
  assert.deepEqual([first.id, again.id, asked.id], ['order-1', 'order-1', 'order-1']);
  assert.deepEqual(
    asked.recipients.map(([number]: [string]) => number),
    ['+4915112345', '+4915167890'],
  );
  assert.equal(other.state, 'Pending');
  assert.match(error('smsgate unknown number'), /BadRequestError/);
  assert.equal(value('smsgate cancel').state, 'Cancelled');
  assert.match(error('smsgate stranger'), /UnauthorizedError/);

  const heard = await heardBy(daemon, bob);
  const texts = heard.map(({ text }) => text);
  for (const text of [
    'from apprise',
    'with a token',
    'as a form',
    'from python-ntfy',
    'from ntfy-api',
    'as json',
  ]) {
    assert.equal(texts.filter(one => one === text).length, 1, text);
  }
  assert.equal(texts.filter(one => one === 'from smsgate').length, 2, 'once as himself and once in the room');
  for (const text of ['too late', 'nobody reads this', 'by mail', 'to nobody', 'taken back']) {
    assert.equal(texts.includes(text), false, text);
  }
  const apprise = heard.find(({ text }) => text === 'from apprise');
  assert.deepEqual([apprise?.title, apprise?.priority, apprise?.data?.tags], ['Wärme', 'high', ['fire']]);
  assert.equal(heard.find(({ text }) => text === 'see the file')?.attachments[0]?.name, 'cellar.txt');
  assert.equal(daemon.stderr().includes(token), false, 'no token is in the log');
});

test('lines of curl from the documentation of ntfy, Kannel and playSMS work, and the log tells no token of them', {
  skip: missingProgram('curl', 'curl', '--version'),
}, async () => {
  await using hub = await startHub();
  const { daemon, token, bob } = hub;
  const { http, legacy = '' } = daemon.ready;
  const curl = async (...words: string[]) => (await run('curl', ['-s', '--max-time', '60', ...words])).stdout;
  const me = ['-u', `:${token}`];
  const lines: [words: string[], expected: RegExp][] = [
    [[...me, '-d', 'Backup successful 😀', `${http}/ntfy/alerts`], /"message":"Backup successful 😀"/],
    [[...me, '-d', 'at the root', `${legacy}/alerts`], /"message":"at the root"/],
    [
      [
        ...me,
        '-H',
        'Title: Unauthorized access detected',
        '-H',
        'Priority: urgent',
        '-H',
        'Tags: warning,skull',
        '-d',
        'Remote access',
        `${legacy}/alerts`,
      ],
      /"priority":5,"tags":\["warning","skull"\]/,
    ],
    [
      [
        ...me,
        '-T',
        join(import.meta.dirname, 'requirements-legacy.txt'),
        '-H',
        'Filename: wanted.txt',
        `${legacy}/alerts`,
      ],
      /"attachment":\{"name":"wanted.txt","type":"text\/plain"/,
    ],
    [
      [...me, `${legacy}/alerts/publish?message=Webhook+triggered&priority=high&tags=warning`],
      /"Webhook triggered","priority":4/,
    ],
    [
      [
        '-H',
        `Authorization: Bearer ${token}`,
        '-d',
        '{"topic":"alerts","message":"Disk space is low","priority":4}',
        legacy,
      ],
      /"message":"Disk space is low","priority":4/,
    ],
    [
      [`${legacy}/alerts/trigger?auth=${Buffer.from(`Bearer ${token}`).toString('base64url')}`],
      /"triggered"/,
    ],
    [[...me, `${legacy}/alerts/json?poll=1&since=10m`], /Backup successful.*"triggered"/s],
    [[...me, `${legacy}/alerts/raw?poll=1&priority=5`], /^Remote access\n$/],
    [[`${legacy}/v1/health`], /^\{"healthy":true\}\n$/],
    [['-d', 'x', `${legacy}/alerts`], /^\{"code":40101,"http":401,/],
    [
      [`${http}/cgi-bin/sendsms?username=u&password=${token}&to=4915112345+4915167890&text=from+kannel`],
      /^0: Accepted for delivery\n$/,
    ],
    [
      [`${legacy}/index.php?app=ws&u=u&h=${token}&op=pv&to=4915112345&msg=from+playsms`],
      /"status":"OK","error":"0"/,
    ],
    [[`${http}/v1/send?to=app:bob&text=one+line&token=${token}`], /^OK [0-9a-f]{32}\n$/],
  ];
  for (const [words, expected] of lines) {
    assert.match(await curl(...words), expected, words.join(' ').replaceAll(token, '…'));
  }
  const texts = (await heardBy(daemon, bob)).map(({ text }) => text);
  assert.deepEqual(texts, [
    'Backup successful 😀',
    'at the root',
    'Remote access',
    'You received a file: wanted.txt',
    'Webhook triggered',
    'Disk space is low',
    'triggered',
    'from kannel',
    'from kannel',
    'from playsms',
    'one line',
  ]);
  for (const secret of [token, Buffer.from(`Bearer ${token}`).toString('base64url')]) {
    assert.equal(daemon.stderr().includes(secret), false, 'no token is in the log');
  }
});
