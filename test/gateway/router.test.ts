import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Message } from '../../src/gateway/message.ts';
import { isPattern, matches, rateOf } from '../../src/gateway/route-rule.ts';
import { type RoutingFacts, route } from '../../src/gateway/router.ts';
import { createRoutes } from '../../src/gateway/routes.ts';
import { Counters } from '../../src/lib/counters.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { ManualClock } from '../sim/clock.ts';

const hubLxmf = 'ff'.repeat(16);
const address = fc.constantFrom(
  `lxmf:${hubLxmf}`,
  `lxmf:${'aa'.repeat(16)}`,
  `lxmf:${'bb'.repeat(16)}`,
  `lxmf:${'cc'.repeat(16)}`,
  `lxmf:${'dd'.repeat(16)}`,
  'matrix:@al:home',
  'mqtt:dev/pump',
  'mqtt:plaza',
  'app:owner',
  'app:ann',
  'app:gone',
  'room:hub',
  'room:plaza',
  'room:sensors',
  'room:none',
  'matrix:!a:b',
  '',
);
/** Addresses on the mesh that are residents' own here. */
const residents = new Map([
  [`lxmf:${'aa'.repeat(16)}`, 'app:ann'],
  [`lxmf:${'cc'.repeat(16)}`, 'room:plaza'],
  [`lxmf:${'dd'.repeat(16)}`, 'matrix:@al:home'],
]);
const here = (one: string) => (one === `lxmf:${hubLxmf}` ? 'room:hub' : (residents.get(one) ?? one));
const heads = new Map([
  ['of ann', { from: 'app:ann', to: 'room:plaza' }],
  ['of a stranger', { from: `lxmf:${'bb'.repeat(16)}`, to: 'room:plaza' }],
  ['of al', { from: 'matrix:@al:home', to: `lxmf:${'bb'.repeat(16)}` }],
]);
const facts: fc.Arbitrary<RoutingFacts> = fc.record({
  hubLxmf: fc.constant(hubLxmf),
  rooms: fc.record({
    plaza: fc.record({ members: fc.array(address, { maxLength: 8 }) }),
    yard: fc.record({ members: fc.array(address, { maxLength: 3 }) }),
  }),
  routes: fc.array(
    fc.record({
      from: fc.constantFrom('mqtt:dev/#', 'app:*', 'lxmf:*', 'mqtt:plaza'),
      to: fc.array(address, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
  clients: fc.array(
    fc.record({
      name: fc.constantFrom('owner', 'ann', 'ben'),
      scopes: fc.constantFrom(['admin'] as const, ['messages:read'] as const, ['messages:send'] as const),
      rooms: fc.subarray(['hub', 'plaza', 'sensors']),
    }),
    { maxLength: 4 },
  ),
  reaches: fc.constant((to: string) => (/^(lxmf|mqtt|matrix):./.test(to) ? true : undefined)),
  partyAt: fc.constant((one: string) => residents.get(one)),
  hubMembers: fc.subarray(['matrix:@al:home', 'matrix:@eve:home']),
  headOf: fc.constant((id: string) => heads.get(id)),
  reachedBy: fc.constant((id: string) =>
    id === 'of ann' ? ['mqtt:plaza', 'app:ben', 'app:ann'].map(address => ({ address })) : [],
  ),
});

test('nothing goes back to where it came from, to anybody twice, or to an address nobody has', () => {
  const relation = fc.constantFrom(undefined, 'of ann', 'of a stranger', 'of al', 'unknown');
  const type = fc.constantFrom('chat.message', 'chat.edit', 'chat.redaction');
  fc.assert(
    fc.property(
      fc.record({ from: address, to: address, type }),
      relation,
      fc.option(address, { nil: undefined }),
      facts,
      (message, inReplyTo, origin, world) => {
        const routed = inReplyTo === undefined ? message : { ...message, inReplyTo };
        let routing: ReturnType<typeof route>;
        try {
          routing = route(routed, world, origin);
        } catch (error) {
          assert.ok(isGatewayError(error, 'request/not-found'));
          return;
        }
        const { from, to } = message;
        const reached = routing.recipients.map(recipient => recipient.address);
        assert.equal(new Set(reached.map(here)).size, reached.length, 'nobody twice');
        assert.ok(origin === undefined || !reached.map(here).includes(here(origin)), 'not where it was said');
        assert.ok(!reached.includes(here(from)) || here(to) === here(from) || routing.to === here(from));
        for (const one of routing.recipients) {
          assert.equal(one.address.startsWith(`${one.bridge}:`), true);
          assert.equal(
            residents.has(one.address) || one.address === `lxmf:${hubLxmf}`,
            false,
            'not by the air',
          );
        }
      },
    ),
    { numRuns: 2000 },
  );
});

const world: RoutingFacts = {
  hubLxmf,
  rooms: { plaza: { members: ['matrix:!room:home', 'app:ben', `lxmf:${'ee'.repeat(16)}`] } },
  routes: [],
  clients: [
    { name: 'ann', scopes: ['messages:read'], rooms: ['hub'] },
    { name: 'ben', scopes: ['messages:read'], rooms: ['hub'] },
    { name: 'deaf', scopes: ['messages:send'], rooms: ['hub'] },
  ],
  reaches: () => true,
  partyAt: one => residents.get(one),
  hubMembers: [],
  headOf: id => heads.get(id),
  reachedBy: () => [],
};
const stranger = `lxmf:${'bb'.repeat(16)}`;
const reached = (message: Partial<Message> & Pick<Message, 'from' | 'to'>, facts = world, origin?: string) =>
  route({ type: 'chat.message', ...message }, facts, origin).recipients.map(one => one.address);

test("what is written to the hub's address goes to the app or the person it answers, or else to the hub's room", () => {
  const message = { from: stranger, to: `lxmf:${hubLxmf}`, type: 'chat.message' };
  assert.deepEqual(route({ ...message, inReplyTo: 'of ann' }, world), {
    to: 'app:ann',
    recipients: [{ bridge: 'app', address: 'app:ann' }],
  });
  assert.equal(route({ ...message, inReplyTo: 'of al' }, world).to, 'matrix:@al:home');
  for (const relation of [{}, { inReplyTo: 'unknown' }, { inReplyTo: 'of a stranger' }]) {
    const routing = route({ ...message, ...relation }, world);
    assert.equal(routing.to, 'room:hub');
    assert.deepEqual(
      routing.recipients.map(one => one.address),
      ['app:ann', 'app:ben'],
    );
  }
  const invited = { ...world, hubMembers: ['matrix:@eve:home'] };
  assert.deepEqual(reached(message, invited), ['matrix:@eve:home', 'app:ann', 'app:ben']);
});

test("a resident's address is the resident, wherever it is written to from", () => {
  for (const from of [stranger, 'app:ben', 'mqtt:plaza']) {
    assert.deepEqual(route({ from, to: `lxmf:${'aa'.repeat(16)}`, type: 'chat.message' }, world), {
      to: 'app:ann',
      recipients: [{ bridge: 'app', address: 'app:ann' }],
    });
  }
  assert.equal(route({ from: stranger, to: `lxmf:${'cc'.repeat(16)}`, type: 'a.b' }, world).to, 'room:plaza');
  assert.deepEqual(reached({ from: 'app:ann', to: `lxmf:${'dd'.repeat(16)}` }), ['matrix:@al:home']);
});

test('an answer in a room goes to its members, and to whoever wrote to the room from outside', () => {
  const members = ['app:ben', `lxmf:${'ee'.repeat(16)}`];
  const said = { from: 'matrix:@al:home', to: 'room:plaza' };
  const answer = (inReplyTo: string, facts = world) =>
    reached({ ...said, inReplyTo }, facts, 'matrix:!room:home');
  assert.deepEqual(answer('of a stranger'), [...members, stranger]);
  assert.deepEqual(answer('of ann'), [...members, 'app:ann']);
  assert.deepEqual(answer('of al'), members, 'what was said elsewhere concerns nobody here');
  assert.deepEqual(answer('unknown'), members);
});

test('what its sender changes or takes back goes to those whom it reached, and to nobody who came since', () => {
  const ruling = { template: { text: 'x' }, priority: 'bulk' as const };
  const facts: RoutingFacts = {
    ...world,
    routes: [{ from: 'app:*', room: 'plaza', to: ['mqtt:late'] }],
    reachedBy: () => [{ address: stranger, ruling }, { address: 'app:ben' }],
  };
  const change = { to: 'room:plaza', inReplyTo: 'of ann', type: 'chat.redaction' };
  assert.deepEqual(route({ ...change, from: 'app:ann' }, facts).recipients, [
    { bridge: 'lxmf', address: stranger, ruling, priority: 'bulk' },
    { bridge: 'app', address: 'app:ben' },
  ]);
  assert.deepEqual(reached({ ...change, type: 'chat.message', from: 'app:ann' }, facts), [
    'matrix:!room:home',
    'app:ben',
    `lxmf:${'ee'.repeat(16)}`,
    'mqtt:late',
  ]);
  assert.ok(!reached({ ...change, from: 'app:ben' }, facts).includes(stranger), 'nobody else changes it');
  const blocked = { ...facts, isBlocked: (address: string) => address === stranger };
  assert.deepEqual(reached({ ...change, from: 'app:ann' }, blocked), ['app:ben']);
});

test('a change of what was said to the hub for one app alone goes to that app, and to nobody where that is gone', () => {
  const to = `lxmf:${hubLxmf}`;
  const change = { from: stranger, to, type: 'chat.edit', inReplyTo: 'private' };
  const facts = (app: string): RoutingFacts => ({ ...world, headOf: () => ({ from: stranger, to: app }) });
  assert.deepEqual(route(change, facts('app:ann')), {
    to: 'app:ann',
    recipients: [{ bridge: 'app', address: 'app:ann' }],
  });
  assert.deepEqual(route(change, facts('app:gone')), { to: 'app:gone', recipients: [] });
});

test('a room whose member is another room of the hub reaches who is in that, round and round as it may go', () => {
  const facts = {
    ...world,
    rooms: {
      plaza: { members: [`lxmf:${hubLxmf}`, stranger] },
      hub: { members: [`lxmf:${'cc'.repeat(16)}`] },
    },
  };
  assert.deepEqual(reached({ from: 'app:ann', to: 'room:plaza' }, facts), [stranger, 'app:ben']);
});

test("a route adds recipients to what is said in the hub's own rooms, by sender and type", () => {
  const facts: RoutingFacts = {
    ...world,
    routes: [
      { from: 'mqtt:dev/#', type: 'sensor.reading', to: [stranger, 'app:ann'], priority: 'bulk' },
      { from: 'mqtt:dev/*', to: [stranger, 'room:plaza'] },
    ],
  };
  const reading = { from: 'mqtt:dev/pump', to: 'room:sensors', type: 'sensor.reading' };
  assert.deepEqual(route(reading, facts).recipients, [
    { bridge: 'lxmf', address: stranger, route: 0, priority: 'bulk' },
    { bridge: 'app', address: 'app:ann', route: 0, priority: 'bulk' },
    { bridge: 'matrix', address: 'matrix:!room:home', route: 1 },
    { bridge: 'app', address: 'app:ben', route: 1 },
    { bridge: 'lxmf', address: `lxmf:${'ee'.repeat(16)}`, route: 1 },
  ]);
  assert.equal(reached({ ...reading, type: 'event.alarm' }, facts).length, 4);
  assert.deepEqual(reached({ ...reading, from: 'mqtt:other' }, facts), []);
  assert.ok(
    !reached({ ...reading, to: 'room:plaza' }, facts).includes(stranger),
    'a room of its own has members',
  );
});

test('a pattern stands for the addresses it says and no others', () => {
  const rule = (from: string) => ({ from, to: ['app:ann'] });
  const fits = (pattern: string, from: string) => matches(rule(pattern), { from, type: 'a' });
  for (const [pattern, yes, no] of [
    ['mqtt:dev/#', 'mqtt:dev/a/b', 'mqtt:device/a'],
    ['mqtt:dev/*', 'mqtt:dev/a', 'mqtt:dev/a/b'],
    ['mqtt:*/x', 'mqtt:a/x', 'mqtt:a/y'],
    ['lxmf:*', stranger, 'app:ann'],
    ['lxmf:#', stranger, 'matrix:@a:b'],
    ['app:ann', 'app:ann', 'app:anna'],
  ] as const) {
    assert.ok(isPattern(pattern) && fits(pattern, yes), `${pattern} ${yes}`);
    assert.ok(!fits(pattern, no), `${pattern} ${no}`);
  }
  for (const wrong of ['dev/#', 'mqtt:dev#', 'mqtt:#/a', 'mqtt:a b', '']) {
    assert.ok(!isPattern(wrong), wrong);
  }
  assert.deepEqual(rateOf('1/10m'), { count: 1, per: 600_000 });
  assert.deepEqual(rateOf('6/h'), { count: 6, per: 3_600_000 });
  for (const wrong of ['', '0/h', '1/0s', '1/w', '1001/h', '1h', '1.5/h']) {
    assert.equal(rateOf(wrong), undefined, wrong);
  }
});

test('a rate lets so many of each sender to each recipient pass in its time, and a place not used is given back', async () => {
  const clock = new ManualClock();
  const counters = new Counters();
  const routes = createRoutes({
    clock,
    counters,
    rules: [{ from: 'mqtt:#', to: [stranger], maxRate: '2/10s' }],
  });
  const pass = (from: string, undo = false) => {
    const recipients = [
      { bridge: 'app', address: 'app:ann' },
      { bridge: 'lxmf', address: stranger, route: 0 },
    ];
    const admitted = routes.admit(from, recipients);
    if (undo) {
      admitted.undo();
    }
    return admitted.recipients.length === 2;
  };
  assert.deepEqual(
    [pass('mqtt:a', true), pass('mqtt:a'), pass('mqtt:a'), pass('mqtt:a')],
    [true, true, true, false],
  );
  assert.equal(pass('mqtt:b'), true);
  await clock.advance(10_000);
  assert.equal(pass('mqtt:a'), true);
  assert.equal(counters.get('routes/over-rate'), 1);
  assert.deepEqual([...routes.counts().values()], [{ passed: 4, leftOut: 1 }]);
});
