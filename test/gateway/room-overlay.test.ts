import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { carriedOver, changeTo, inForce, type RoomChange } from '../../src/gateway/room-overlay.ts';

const address = fc.constantFrom('lxmf:a', 'lxmf:b', 'mqtt:c', 'app:d', 'app:e', 'matrix:!f:g');
const members = fc.uniqueArray(address, { maxLength: 5 });
const setting = fc.record({ members, open: fc.option(fc.boolean(), { nil: undefined }) });
const sorted = (list: readonly string[] = []) => [...list].sort();

test('a room becomes what is wanted, whatever the configuration and earlier changes say', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('plaza', 'hub'),
      fc.option(setting, { nil: undefined }),
      fc.array(setting, { minLength: 1, maxLength: 4 }),
      (name, config, steps) => {
        const configured = name === 'hub' ? undefined : config;
        let change: RoomChange | undefined;
        for (const wanted of steps) {
          change = changeTo(name, configured, change, wanted);
          const room = inForce(name, configured, change);
          assert.deepEqual(sorted(room?.members), sorted(wanted.members));
          assert.equal(room?.open, wanted.open ?? false);
          assert.ok(wanted.members.every(one => !room?.removed.includes(one)));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('a room set back to what the configuration says keeps no change', () => {
  fc.assert(
    fc.property(setting, members, (configured, other) => {
      const change = changeTo('plaza', configured, undefined, { members: other });
      const back = changeTo('plaza', configured, change, { ...configured, removed: [] });
      assert.equal(back?.added.length ?? 0, 0);
      assert.deepEqual(sorted(inForce('plaza', configured, back)?.members), sorted(configured.members));
    }),
  );
});

test('a configuration that changed has its way where it changed, and only there', () => {
  const before = { members: ['lxmf:a', 'lxmf:b'] };
  const change = changeTo('plaza', before, undefined, { members: ['lxmf:a', 'mqtt:c'] })!;
  assert.deepEqual(change, { added: ['mqtt:c'], removed: ['lxmf:b'] });
  const more = { members: ['lxmf:a', 'lxmf:b', 'app:d'] };
  assert.deepEqual(inForce('plaza', more, carriedOver('plaza', more, change))?.members, [
    'lxmf:a',
    'app:d',
    'mqtt:c',
  ]);
  // The configuration lets go of whom was taken out here: that is forgotten, and a later word of it counts again.
  const less = carriedOver('plaza', { members: ['lxmf:a'] }, change)!;
  assert.deepEqual(inForce('plaza', before, less)?.members, ['lxmf:a', 'lxmf:b', 'mqtt:c']);
  assert.equal(carriedOver('plaza', undefined, change), undefined, 'it went with its room');
  const gone: RoomChange = { gone: true, added: [], removed: [] };
  assert.equal(inForce('plaza', before, carriedOver('plaza', before, gone)), undefined);
  assert.equal(carriedOver('plaza', undefined, gone), undefined);
});
