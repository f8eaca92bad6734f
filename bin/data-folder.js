// Which configuration counts and where its data folder is. Plain JavaScript, because it is asked before
// the compile cache in that folder is on, and without the cache every TypeScript file costs.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * The config file: `--config`, else `KOS_CONFIG`, else `./kos.yaml` where there is one, else none.
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @returns {string | undefined}
 */
export function configFileOf(args, environment) {
  return (
    option(args, '--config') ?? environment.KOS_CONFIG ?? (existsSync('kos.yaml') ? 'kos.yaml' : undefined)
  );
}

/**
 * A first guess at the data folder, for the compile cache only: `--data`, else `KOS_HUB_DATA`, else the
 * `data:` line below `hub:`. Whatever it misses costs time, nothing else.
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @returns {string}
 */
export function dataFolderOf(args, environment) {
  const given = option(args, '--data') ?? environment.KOS_HUB_DATA;
  if (given !== undefined) {
    return resolve(given);
  }
  const file = configFileOf(args, environment);
  if (file === undefined) {
    return resolve('data');
  }
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // Whoever reads the configuration in earnest says so.
  }
  const hub = /^hub:.*(?:\n[ \t]+.*|\n[ \t]*#.*|\n[ \t]*)*/m.exec(text)?.[0] ?? '';
  const data = /(?:^|[\s{,])data:[ \t]*(?:"([^"]*)"|'([^']*)'|([^\s,}#]+))/.exec(hub);
  return resolve(dirname(file), data?.[1] ?? data?.[2] ?? data?.[3] ?? 'data');
}

function option(args, name) {
  const at = args.findIndex(word => word === name || word.startsWith(`${name}=`));
  if (at < 0) {
    return undefined;
  }
  return args[at] === name ? args[at + 1] : args[at].slice(name.length + 1);
}
