import { memoryBridge, openTestSwitch } from '../gateway/fixture.ts';

/**
 * A process that accepts messages to one peer and delivers them without end; made to be killed. It says `accepted ID`
 * once a message is acknowledged and `arrived ID BYTES` when its far side has it, before the switch knows.
 */
const lxmf = memoryBridge('lxmf', { window: 8 });
lxmf.respond = async ({ id, message, remembered }) => {
  const port = await lxmf.port;
  const bytes = remembered ?? crypto.getRandomValues(new Uint8Array(8));
  if (remembered === undefined) {
    await port.remember(id, bytes, id);
  }
  await port.report(id, { state: 'sent' });
  process.stdout.write(`arrived ${message.id} ${Buffer.from(bytes).toString('hex')}\n`);
  await new Promise(resolve => setTimeout(resolve, 3));
  return { state: 'delivered' };
};
const hub = await openTestSwitch({ dir: process.argv[2] ?? '', bridges: [lxmf] });
for (;;) {
  const { message } = await hub.desk.messages.post(hub.owner, { to: `lxmf:${'ab'.repeat(16)}`, text: '' });
  process.stdout.write(`accepted ${message.id}\n`);
  await new Promise(resolve => setTimeout(resolve, 1));
}
