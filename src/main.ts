import { mkdirSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { dataFolderOf, environmentFile } from './start/data-folder.ts';

const usage = `kosd [--config FILE] [--data DIR] [--json]

  --config FILE   configuration; else KOS_CONFIG, else ./kos.yaml, else none
  --data DIR      folder of everything the gateway keeps
  --json          one line of JSON on stdout once it serves
`;

/**
 * The daemon's entry. It does as little as possible before the compile cache is on, and everything
 * else behind a dynamic import: that is what makes a second start quick.
 */
export async function main(): Promise<void> {
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
  // Whatever the gateway writes is for its owner alone.
  process.umask(0o077);
  const file = environmentFile(options.config, process.env);
  const data = resolve(options.data ?? process.env.KOS_HUB_DATA ?? dataFolderOf(file));
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 });
    enableCompileCache(join(data, 'compile-cache'));
  } catch {
    // A folder that cannot be made is named properly once the configuration has been checked.
  }
  const { runDaemon } = await import('./start/daemon.ts');
  await runDaemon({
    file,
    data: options.data,
    json: options.json === true,
    environment: process.env,
    startedAt: performance.timeOrigin,
  });
}
