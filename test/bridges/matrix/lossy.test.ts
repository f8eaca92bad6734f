import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { eventually, ghost, openRig, peer } from './rig.ts';

const rounds = 4;
const perRound = 8;

for (const seed of [1, 2]) {
  test(`homeserver and gateway restarted at any moment, pushes lost and doubled: all arrives once (seed ${seed})`, async () => {
    const random = seededRandom(seed);
    await using rig = await openRig({ rooms: { plaza: { members: [`lxmf:${peer}`] } } });
    await rig.up();
    const { homeserver } = rig;
    const alice = homeserver.person('alice');
    const room = alice.join('#_kos_plaza:home.test');
    const fromMatrix: string[] = [];
    const fromMesh: string[] = [];
    const heard: string[] = [];
    const collect = () => heard.push(...rig.mesh.delivered.splice(0).map(({ message }) => message.text));
    homeserver.pusher.duplicate = random.fraction() < 0.5;
    homeserver.pusher.loseEvery = 5;
    for (let round = 0; round < rounds; round++) {
      const moment = Math.floor(random.fraction() * perRound);
      for (let index = 0; index < perRound; index++) {
        const text = `${round}/${index}`;
        fromMatrix.push(text);
        alice.say(room, text);
        fromMesh.push(`mesh ${text}`);
        await rig.hear(`mesh ${text}`, 'room:plaza');
        await systemClock.sleep(random.fraction() * 10);
        if (index === moment) {
          if (round % 2 === 0) {
            await homeserver.kill();
            await systemClock.sleep(random.fraction() * 300);
            await homeserver.start();
          } else {
            await rig.stop();
            collect();
            await rig.start();
          }
        }
      }
    }
    // What was lost quietly at last is found when the homeserver is noticed to have been away.
    await rig.up();
    homeserver.pusher.loseEvery = 0;
    await homeserver.restart();
    await eventually(() => {
      collect();
      return heard.length >= fromMatrix.length;
    }, 'not everything came');
    const shown = () =>
      homeserver
        .shown(room)
        .filter(({ sender }) => sender === ghost)
        .map(({ content }) => content.body);
    await eventually(() => shown().length >= fromMesh.length);
    // What comes twice would come now.
    await systemClock.sleep(300);
    collect();
    assert.deepEqual(shown(), fromMesh);
    assert.deepEqual([...heard].sort(), [...fromMatrix].sort());
  });
}
