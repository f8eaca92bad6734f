import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Which config file counts: the one given, else `KOS_CONFIG`, else `./kos.yaml` where there is one. */
export function environmentFile(
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return given ?? environment.KOS_CONFIG ?? (existsSync('kos.yaml') ? 'kos.yaml' : undefined);
}

/**
 * A first guess at `hub.data`, for the compile cache only, before the YAML parser and the schemas are
 * loaded: the `data:` line below `hub:`. Whatever it misses costs time, nothing else.
 */
export function dataFolderOf(file: string | undefined): string {
  if (file === undefined) {
    return './data';
  }
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return './data';
  }
  const hub = /^hub:.*(?:\n[ \t]+.*|\n[ \t]*#.*|\n[ \t]*)*/m.exec(text)?.[0] ?? '';
  const data = /(?:^|[\s{,])data:[ \t]*(?:"([^"]*)"|'([^']*)'|([^\s,}#]+))/.exec(hub);
  return resolve(dirname(file), data?.[1] ?? data?.[2] ?? data?.[3] ?? './data');
}
