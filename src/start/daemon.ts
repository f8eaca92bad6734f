import { type Config, formatMistakes, loadConfig } from '../config.ts';
import { systemClock } from '../lib/clock.ts';
import { isGatewayError } from '../lib/errors.ts';
import { createLog, type Log } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { type Hub, startHub } from './hub.ts';
import { removeOwnerToken } from './owner-token.ts';

export interface DaemonOptions {
  readonly file: string | undefined;
  readonly data: string | undefined;
  readonly json: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** ms epoch when the process was started. */
  readonly startedAt: number;
  /** Called once it serves. */
  readonly onReady: () => void;
}

/** Longest time between the first signal and the end, ms: past it the process ends as it is, which loses nothing accepted. */
const patience = 5000;

/** Configuration to a running hub, until SIGTERM or SIGINT; sets the exit code. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const config = configure(options);
  if (config === undefined) {
    return;
  }
  const log = createLog(config.log);
  // A promise that nobody waited for is a bug, told with its stack; it is no reason to cut everybody off.
  process.on('unhandledRejection', error => log.error({ error }, 'a bug: a failure that nobody handled'));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) {
        process.exit(1);
      }
      log.info({ signal }, 'stopping');
      stop.abort();
      setTimeout(() => process.exit(1), patience).unref();
    });
  }
  const terminal = process.stdout.isTTY === true;
  let hub: Hub | undefined;
  // A terminal that is closed says so with the same signal: then it means what it always meant.
  process.on('SIGHUP', () => {
    if (terminal) {
      process.kill(process.pid, 'SIGTERM');
    } else {
      void reload(hub, log);
    }
  });
  try {
    hub = await startHub({
      config,
      clock: systemClock,
      random: systemRandom,
      log,
      file: options.file,
      reread: () => loadConfig(options),
      ownerTokenFile: options.environment.KOS_OWNER_TOKEN_FILE,
    });
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    process.stderr.write(
      `kosd: ${error.code === 'config/invalid' ? formatMistakes(error) : error.message}\n`,
    );
    process.exitCode = 1;
    return;
  }
  options.onReady();
  const ms = Math.round(Date.now() - options.startedAt);
  log.info({ hub: hub.facts.id.slice(0, 8), http: hub.httpUrl, mqtt: hub.mqttUrl, ms }, 'ready');
  tell(hub, options);
  if (!stop.signal.aborted) {
    await new Promise(resolve => stop.signal.addEventListener('abort', resolve, { once: true }));
  }
  await hub.close();
  log.info({}, 'stopped');
}

/** Reads the configuration again; what is wrong with it is in the log, and nothing is changed then. */
async function reload(hub: Hub | undefined, log: Log): Promise<void> {
  try {
    await hub?.reload();
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    const mistakes = error.errors.map(({ pointer, detail }) => `${pointer}: ${detail}`);
    log.error({ code: error.code, mistakes }, `the configuration was not taken over: ${error.message}`);
  }
}

function configure(options: DaemonOptions): Config | undefined {
  try {
    return loadConfig(options);
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    process.stderr.write(`kosd: ${formatMistakes(error)}\n`);
    process.exitCode = 1;
    return undefined;
  }
}

/** Says on stdout that the hub serves: a line for a program, or a few for a person. */
function tell(hub: Hub, options: DaemonOptions): void {
  const { facts, mintedOwnerToken } = hub;
  if (options.json) {
    const line = {
      event: 'ready',
      hub: facts.id,
      http: hub.httpUrl,
      mqtt: hub.mqttUrl,
      lxmf: facts.lxmf,
      ...(hub.replicasUrl === undefined ? {} : { replicas: hub.replicasUrl }),
      ...(hub.legacyUrl === undefined ? {} : { legacy: hub.legacyUrl }),
      ...(mintedOwnerToken === undefined ? {} : { ownerToken: mintedOwnerToken }),
      interfaces: hub.interfaceAddresses(),
    };
    process.stdout.write(`${JSON.stringify(line)}\n`, () => shown(hub));
    return;
  }
  const terminal = process.stdout.isTTY === true;
  const showToken = mintedOwnerToken !== undefined && terminal;
  const file = options.file === undefined ? '' : ` with ${options.file}`;
  const lines = [
    '',
    `kOS gateway ${facts.version}, ${facts.name}${file}`,
    '',
    `  web and API    ${hub.httpUrl}`,
    `  MQTT           ${hub.mqttUrl}`,
    `  LXMF address   ${facts.lxmf}`,
    ...(hub.replicasUrl === undefined ? [] : [`  replicas       ${hub.replicasUrl}/{id}/`]),
    ...(hub.legacyUrl === undefined ? [] : [`  legacy         ${hub.legacyUrl}`]),
    `  data           ${hub.data}`,
    ...(showToken
      ? [`  owner token    ${mintedOwnerToken}   (shown this once)`]
      : mintedOwnerToken === undefined
        ? []
        : [`  owner token    npx kosctl${dataOption(options)} token owner   (prints it once)`]),
    '',
    'Send a first message, and read it:',
    '',
    ...(showToken
      ? [
          `  curl -s ${hub.httpUrl}/v1/messages -H 'Authorization: Bearer ${mintedOwnerToken}' \\`,
          `    -H 'Content-Type: application/json' -d '{"to":"app:owner","text":"hello"}'`,
        ]
      : [`  npx kosctl${dataOption(options)} send app:owner "hello"`]),
    `  npx kosctl${dataOption(options)} inbox`,
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`, () => {
    if (terminal) {
      shown(hub);
    }
  });
}

function dataOption(options: DaemonOptions): string {
  return options.data !== undefined
    ? ` --data ${options.data}`
    : options.file !== undefined
      ? ` --config ${options.file}`
      : '';
}

/** The token has been read: its file is no longer needed. */
function shown(hub: Hub): void {
  if (hub.mintedOwnerToken !== undefined) {
    removeOwnerToken(hub.data);
  }
}
