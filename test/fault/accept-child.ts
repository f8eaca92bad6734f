import { openTestSwitch } from '../gateway/fixture.ts';

/** A process that accepts messages without end and says each id once it is acknowledged; made to be killed. */
const hub = await openTestSwitch({ dir: process.argv[2] ?? '' });
process.stdout.write('open\n');
for (let n = 0; ; n += 4) {
  const posts = [0, 1, 2, 3].map(async i => {
    const { message } = await hub.desk.messages.post(hub.owner, {
      to: 'app:owner',
      text: `${process.pid}/${n + i}`,
    });
    process.stdout.write(`${message.id}\n`);
  });
  await Promise.all(posts);
}
