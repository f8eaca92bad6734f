import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startDaemon } from './daemon.ts';

const terminal = fileURLToPath(new URL('terminal.py', import.meta.url));
const kosctl = fileURLToPath(new URL('../../bin/kosctl.js', import.meta.url));
const hasPython = spawnSync('python3', ['--version'], { stdio: 'ignore' }).status === 0;
assert.ok(hasPython || process.env.CI === undefined || process.getuid?.() !== 0, 'apt-get install python3');

const environment = { PATH: process.env.PATH, HOME: process.env.HOME, TERM: 'xterm' };

/** kosctl at a terminal of its own, where somebody answers what it asks. */
function atTerminal(words: readonly string[], answers: readonly (readonly [asked: string, typed: string])[]) {
  const args = [terminal, JSON.stringify(answers), process.execPath, kosctl, ...words];
  const { stdout, stderr } = spawnSync('python3', args, { encoding: 'utf8', env: environment });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as { code: number; shown: string };
}

/** kosctl without one. */
function inScript(words: readonly string[], input = '', more: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [kosctl, ...words], {
    encoding: 'utf8',
    input,
    env: { ...environment, ...more },
  });
  return { status, stdout, stderr };
}

test('a terminal is asked for the passphrase of a backup, twice and unseen, and a script names where it lies', {
  skip: hasPython ? false : 'needs a pseudo-terminal: apt-get install python3',
  timeout: 480_000,
}, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-passphrase-'));
  await using daemon = await startDaemon();
  const file = join(folder.path, 'hub.age');
  const secret = 'zwölf Wörter und 7';
  const data = ['--data', daemon.data];
  const one = 'at least 12 characters: ';
  const two = 'the same again: ';

  const made = atTerminal(
    ['backup', file, ...data],
    [
      [one, 'short\r'],
      [one, 'a first passphrase\r'],
      [two, 'another passphrase\r'],
      // A correction, an arrow key, and a word typed ahead.
      [one, `${secret}x\x7f\x1b[D\r`],
      [two, `nonsense\x15${secret}\r`],
    ],
  );
  assert.equal(made.code, 0, made.shown);
  assert.match(made.shown, /too short[\s\S]*these two are not the same[\s\S]*hub\.age: \d+ bytes/);
  assert.match(made.shown, /backup: the databases are copied/);
  for (const typed of ['short\r', 'first', 'another', secret, 'nonsense']) {
    assert.ok(!made.shown.includes(typed), `${typed} was shown`);
  }

  const piped = inScript(['restore', file, '--check', '--passphrase-file', '-'], `${secret}\nand more\n`);
  assert.match(piped.stdout, /hub\.age is whole: hub /, piped.stderr);
  const wrong = atTerminal(['restore', file, '--check'], [['passphrase: ', `${secret} \r`]]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.shown, /passphrase: \r\n[\s\S]*the passphrase is not the one of /);
  const left = atTerminal(['backup', join(folder.path, 'none.age'), ...data], [[one, 'half a pass\x03']]);
  assert.equal(left.code, 1);
  assert.match(left.shown, /interrupted: nothing was done/);
  await writeFile(join(folder.path, 'foreign'), 'not of age');
  const foreign = atTerminal(['restore', join(folder.path, 'foreign'), '--check'], []);
  assert.match(
    foreign.shown,
    /^\S+foreign cannot be restored: it is no backup, for it is no file of age\r\n$/,
  );

  const unasked = inScript(['backup', file, ...data]);
  assert.equal(unasked.status, 2);
  assert.match(unasked.stderr, /Without a terminal to ask at, --passphrase-file or KOS_PASSPHRASE_FILE/);
  assert.match(inScript(['restore', file, '--check']).stderr, /has a passphrase: --passphrase-file/);
  const key = join(folder.path, 'pass');
  await writeFile(key, `${secret}\nanother line\n`);
  const named = inScript(['restore', file, '--check'], '', { KOS_PASSPHRASE_FILE: `${key}-none` });
  assert.match(named.stderr, /pass-none cannot be read: ENOENT/);
  const fromKey = { KOS_PASSPHRASE_FILE: key };
  assert.equal(inScript(['config', 'check'], '', fromKey).status, 0, 'it is no mistake of the configuration');
  const given = inScript(['--json', 'restore', file, '--check'], '', fromKey);
  assert.equal(given.status, 0, given.stderr);
  assert.equal(given.stderr, '', 'no bar where nobody looks');
  assert.equal((JSON.parse(given.stdout) as { head: { hub: string } }).head.hub, daemon.ready.hub);
  const none = inScript(['restore', file, '--check', '--passphrase-file', '-']);
  assert.match(none.stderr, /no passphrase in stdin/);
});
