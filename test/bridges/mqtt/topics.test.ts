import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matches, overlap, topicsOf } from '../../../src/bridges/mqtt/topics.ts';

const topics = topicsOf('0123456789abcdef0123456789abcdef');
const destination = 'ab'.repeat(16);

test('the tree begins with the first eight digits of the hub', () => {
  assert.equal(topics.state, 'kos/v1/01234567/state');
  assert.equal(topics.rx(destination), `kos/v1/01234567/mesh/${destination}/rx`);
});

test('a topic is what its place in the tree says, and anything else inside kos/ is unknown', () => {
  const kinds: Record<string, string> = {
    [`kos/v1/01234567/mesh/${destination}/tx`]: 'tx',
    [`kos/v1/01234567/mesh/${destination.toUpperCase()}/tx`]: 'unknown',
    'kos/v1/01234567/mesh/short/tx': 'unknown',
    [topics.rx(destination)]: 'rx',
    [topics.status('x')]: 'status',
    [topics.announce]: 'announce',
    [topics.err]: 'err',
    [topics.state]: 'hub',
    'kos/v1/01234567/link/lora': 'hub',
    'kos/v1/01234567/dev/pump/set/speed': 'device',
    'kos/v1/01234567/dev/Pump/set': 'unknown',
    'kos/v1/01234567/dev/pump': 'unknown',
    'kos/v1/76543210/state': 'unknown',
    kos: 'unknown',
    $SYS: 'unknown',
    'zigbee2mqtt/lamp': 'literal',
  };
  for (const [topic, kind] of Object.entries(kinds)) {
    assert.equal(topics.parse(topic).kind, kind, topic);
  }
});

test('filters match as MQTT 3.1.1 says', () => {
  const cases: [string, string, boolean][] = [
    ['a/+/c', 'a/b/c', true],
    ['a/+', 'a/b/c', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a', true],
    ['+', '', true],
    ['+/+', '/a', true],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
    ['a/b', 'a', false],
    ['a', 'a/b', false],
  ];
  for (const [filter, topic, expected] of cases) {
    assert.equal(matches(filter, topic), expected, `${filter} on ${topic}`);
  }
});

test('two filters overlap whenever some topic matches both', () => {
  const level = fc.constantFrom('a', 'b');
  const topic = fc.array(level, { minLength: 1, maxLength: 4 });
  const filterOf = (names: readonly string[]) =>
    fc
      .tuple(
        fc.array(fc.boolean(), { minLength: names.length, maxLength: names.length }),
        fc.boolean(),
        fc.nat(4),
      )
      .map(([plus, open, cut]) => {
        const levels = names.map((name, index) => (plus[index] === true ? '+' : name));
        return (open ? [...levels.slice(0, cut), '#'] : levels).join('/');
      });
  const pair = topic.chain(names => fc.tuple(fc.constant(names.join('/')), filterOf(names), filterOf(names)));
  fc.assert(
    fc.property(pair, ([name, one, other]) => {
      assert.ok(matches(one, name) && matches(other, name));
      assert.ok(overlap(one, other) && overlap(other, one));
    }),
  );
  assert.equal(overlap('a/+/c', 'a/b/d'), false);
  assert.equal(overlap('a/b', 'a/b/c'), false);
});
