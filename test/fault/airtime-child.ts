import { openStore } from '../../src/gateway/store/store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { AirtimeLedger } from '../../src/radio/airtime.ts';
import { airtimeStore, machineTime } from '../../src/start/interfaces.ts';

/** Sends as a radio would, as fast as the ledger lets it, and says what was known at first and each ms that was sent. */
const parts = { clock: systemClock, random: systemRandom, log: silentLog };
const store = await openStore({ dir: process.argv[2]!, ...parts });
const ledger = new AirtimeLedger(
  { key: '6c6f7261', limit: 0.1 },
  { clock: systemClock, store: airtimeStore(store.mesh), machine: machineTime() },
);
process.stdout.write(`known ${ledger.view(0).usedMs}\n`);
for (;;) {
  await ledger.take(37, 'answer');
  process.stdout.write('sent 37\n');
}
