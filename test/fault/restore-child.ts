import { restoreBackup } from '../../src/start/backup/restore.ts';

/** A process that restores a backup and dies before a step of it: `FILE DIR IDENTITY STEP`. Says each step. */
const [file = '', dir = '', identity = '', last = ''] = process.argv.slice(2);
let step = 0;
await restoreBackup({
  file,
  dir,
  identities: [identity],
  force: true,
  resend: false,
  now: 1,
  onStep(name) {
    process.stdout.write(`${name}\n`);
    if (step++ === Number(last)) {
      process.kill(process.pid, 'SIGKILL');
    }
  },
});
process.stdout.write('done\n');
