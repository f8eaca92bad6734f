import { flushCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';

/** ms from ready until the heap is settled. */
const settleAfter = 2000;

const usage = `kosd [--config FILE] [--data DIR] [--json]

  --config FILE   configuration; else KOS_CONFIG, else ./kos.yaml, else none
  --data DIR      folder of everything the gateway keeps
  --json          one line of JSON on stdout once it serves
`;

/** The daemon's entry, called by its launcher with the config file that counts. */
export async function main({ configFile }: { readonly configFile: string | undefined }): Promise<void> {
  let options: { config?: string | undefined; data?: string | undefined; json?: boolean; help?: boolean };
  try {
    options = parseArgs({
      options: {
        config: { type: 'string' },
        data: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exitCode = 2;
    return;
  }
  if (options.help === true) {
    process.stdout.write(usage);
    return;
  }
  // Loading makes garbage once. Until the hub is ready the heap is kept from growing for it: 8 MB less when idle.
  setFlagsFromString('--optimize-for-size');
  const [{ runDaemon }, { systemClock }, { settleHeap }] = await Promise.all([
    import('./start/daemon.ts'),
    import('./lib/clock.ts'),
    import('./start/settle-heap.ts'),
  ]);
  await runDaemon({
    file: configFile,
    data: options.data,
    json: options.json === true,
    environment: process.env,
    startedAt: performance.timeOrigin,
    onReady() {
      setFlagsFromString('--no-optimize-for-size');
      // Kept now: a thread that is ended and a process that is killed write nothing at their end.
      flushCompileCache();
      // When whoever waited for the start has been served.
      systemClock.after(settleAfter, settleHeap);
    },
  });
}
