import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Link, type LinkInput, startLink, stepLink } from '../../../src/gateway/replicas/link.ts';

const every = 30_000;

/** Takes the inputs one after the other, each so many ms after the one before. */
function run(
  inputs: readonly (readonly [number, LinkInput])[],
  from: Link = startLink(0),
): { link: Link; did: string[] } {
  let link = from;
  let now = from.since;
  const did: string[] = [];
  for (const [after, input] of inputs) {
    now += after;
    const [next, effects] = stepLink(link, input, now, every);
    link = next;
    did.push(...effects.map(effect => (effect.do === 'wake' ? `wake ${effect.at - now}` : effect.do)));
  }
  return { link, did };
}

const failure = (grave = false): LinkInput => ({ on: 'failure', grave, reason: 'it broke' });
const probed = (good: boolean): LinkInput => ({ on: 'probed', good, reason: 'no answer' });

test('one failed request is never offline: three within half a minute, or a refusal, ask for a probe', () => {
  assert.equal(
    run([
      [1, failure()],
      [1, failure()],
    ]).link.at,
    'online',
  );
  assert.equal(
    run([
      [1, failure()],
      [1, failure()],
      [31_000, failure()],
    ]).link.at,
    'online',
  );
  const three = run([
    [1, failure()],
    [1, failure()],
    [1, failure()],
  ]);
  assert.deepEqual([three.link.at, three.did], ['suspect', ['probe']]);
  const refused = run([[1, failure(true)]]);
  assert.deepEqual([refused.link.at, refused.link.reason, refused.did], ['suspect', 'it broke', ['probe']]);
  assert.equal(run([[1, { on: 'slow' }]]).link.at, 'suspect');
});

test('a probe decides, and while it fails it is made again, ever more seldom, up to the definition’s time', () => {
  const { link, did } = run([
    [1, failure(true)],
    [1, probed(false)],
    ...Array.from(
      { length: 7 },
      () =>
        [
          [1, { on: 'due' }],
          [1, probed(false)],
        ] as const,
    ).flat(),
  ] as [number, LinkInput][]);
  assert.equal(link.at, 'offline');
  const waits = did.filter(each => each.startsWith('wake')).map(each => Number(each.slice(5)));
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  const back = run(
    [
      [1, { on: 'due' }],
      [1, probed(true)],
    ],
    link,
  );
  assert.deepEqual([back.link.at, back.link.reason, back.link.failedProbes], ['online', undefined, 0]);
});

test('a first probe that fails while nothing else did is looked at again before it is believed', () => {
  const { link, did } = run([
    [1, { on: 'due' }],
    [1, probed(false)],
  ]);
  assert.deepEqual([link.at, did], ['suspect', ['probe', 'probe']]);
  assert.equal(run([[1, probed(false)]], link).link.at, 'offline');
});

test('an answer of the service ends every doubt, and what failed before it is forgotten', () => {
  const { link } = run([
    [1, failure()],
    [1, failure()],
    [1, { on: 'answer' }],
    [1, failure()],
  ]);
  assert.deepEqual([link.at, link.failures.length], ['online', 1]);
  assert.equal(
    run([
      [1, failure(true)],
      [1, { on: 'answer' }],
    ]).link.at,
    'online',
  );
});

test('by hand it stays offline whatever is heard, and given up it is probed before it is believed', () => {
  const forced = run([
    [1, { on: 'force', offline: true }],
    [1, { on: 'answer' }],
    [1, probed(true)],
    [1, { on: 'due' }],
  ]);
  assert.deepEqual([forced.link.at, forced.did], ['forced', []]);
  const free = run([[1, { on: 'force', offline: false }]], forced.link);
  assert.deepEqual([free.link.at, free.did], ['suspect', ['probe']]);
});

test('whatever happens in whatever order: one probe at a time, offline has a next one, and good news end it', () => {
  const input = fc.oneof(
    fc.constant<LinkInput>({ on: 'answer' }),
    fc.constant<LinkInput>({ on: 'slow' }),
    fc.constant<LinkInput>({ on: 'due' }),
    fc.boolean().map<LinkInput>(grave => ({ on: 'failure', grave, reason: 'x' })),
    fc.boolean().map<LinkInput>(good => ({ on: 'probed', good, reason: 'x' })),
    fc.boolean().map<LinkInput>(offline => ({ on: 'force', offline })),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(60_000), input), { maxLength: 40 }), steps => {
      let link = startLink(0);
      let now = 0;
      let probing = false;
      for (const [after, what] of steps) {
        // Only a probe that is under way can end.
        if (what.on === 'probed' && !probing) {
          continue;
        }
        now += after;
        const [next, effects] = stepLink(link, what, now, every);
        if (what.on === 'probed') {
          probing = false;
        }
        for (const effect of effects) {
          if (effect.do === 'probe') {
            assert.equal(probing, false);
            probing = true;
          } else {
            assert.ok(effect.at > now && effect.at <= now + every);
          }
        }
        assert.equal(next.probing, probing);
        assert.equal(next.at === 'online', next.reason === undefined);
        assert.ok(next.at !== 'offline' || probing || next.nextProbeAt !== undefined);
        link = next;
      }
      if (link.at !== 'forced') {
        assert.equal(stepLink(link, { on: 'answer' }, now, every)[0].at, 'online');
      }
    }),
  );
});
