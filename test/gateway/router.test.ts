import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type RoutingFacts, route } from '../../src/gateway/router.ts';
import { isGatewayError } from '../../src/lib/errors.ts';

const hubLxmf = 'ff'.repeat(16);
const address = fc.constantFrom(
  `lxmf:${hubLxmf}`,
  `lxmf:${'aa'.repeat(16)}`,
  `lxmf:${'bb'.repeat(16)}`,
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
const facts: fc.Arbitrary<RoutingFacts> = fc.record({
  hubLxmf: fc.constant(hubLxmf),
  rooms: fc.record({ plaza: fc.record({ members: fc.array(address, { maxLength: 8 }) }) }),
  clients: fc.array(
    fc.record({
      name: fc.constantFrom('owner', 'ann', 'ben'),
      scopes: fc.constantFrom(['admin'] as const, ['messages:read'] as const, ['messages:send'] as const),
      rooms: fc.subarray(['hub', 'plaza', 'sensors']),
    }),
    { maxLength: 4 },
  ),
  reaches: fc.constant((to: string) => (/^(lxmf|mqtt):./.test(to) ? true : undefined)),
  partyAt: fc.constant(() => undefined),
  hubMembers: fc.constant([]),
  senderOf: fc.constant((id: string) => (id === 'known' ? 'app:ann' : undefined)),
});

test('nothing goes back to where it came from, to anybody twice, or to an address nobody has', () => {
  fc.assert(
    fc.property(
      address,
      address,
      fc.option(address, { nil: undefined }),
      facts,
      (from, to, origin, world) => {
        let routing: ReturnType<typeof route>;
        try {
          routing = route({ from, to }, world, origin);
        } catch (error) {
          assert.ok(isGatewayError(error, 'request/not-found'));
          return;
        }
        const reached = routing.recipients.map(recipient => recipient.address);
        assert.equal(new Set(reached).size, reached.length);
        assert.ok(origin === undefined || !reached.includes(origin));
        assert.ok(!reached.includes(from) || (from.startsWith('app:') && to === from));
        for (const one of routing.recipients) {
          assert.equal(one.address.startsWith(`${one.bridge}:`), true);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("what is written to the hub's address goes to the app it answers, or else to the hub's room", () => {
  const world: RoutingFacts = {
    hubLxmf,
    rooms: {},
    clients: [
      { name: 'ann', scopes: ['messages:read'], rooms: ['hub'] },
      { name: 'ben', scopes: ['messages:read'], rooms: ['hub'] },
      { name: 'deaf', scopes: ['messages:send'], rooms: ['hub'] },
    ],
    reaches: () => true,
    partyAt: () => undefined,
    hubMembers: [],
    senderOf: id => (id === 'known' ? 'app:ann' : undefined),
  };
  const message = { from: `lxmf:${'aa'.repeat(16)}`, to: `lxmf:${hubLxmf}` };
  assert.deepEqual(route({ ...message, inReplyTo: 'known' }, world), {
    to: 'app:ann',
    recipients: [{ bridge: 'app', address: 'app:ann' }],
  });
  for (const relation of [{}, { inReplyTo: 'unknown' }]) {
    const routing = route({ ...message, ...relation }, world);
    assert.equal(routing.to, 'room:hub');
    assert.deepEqual(
      routing.recipients.map(one => one.address),
      ['app:ann', 'app:ben'],
    );
  }
});
