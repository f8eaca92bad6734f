import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { stringify } from 'yaml';
import { loadConfig } from '../../config.ts';
import { openStore } from '../../gateway/store/store.ts';
import { writeDurably } from '../../gateway/store/synced.ts';
import { toHex } from '../../lib/bytes.ts';
import { systemClock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { destinationHash, nameHash } from '../../mesh/reticulum/destination.ts';
import { encodeIdentity, type Identity } from '../../mesh/reticulum/identity.ts';
import { encodeKnown } from '../../mesh/reticulum/known.ts';
import { encodeRatchets, type Ratchet } from '../../mesh/reticulum/ratchet.ts';
import { encodeRpcKey, parseRpcKey, rpcKeyFile, rpcKeyOfIdentity } from '../../start/rpc/key.ts';
import { parseIni, type Section } from './ini.ts';
import { interfaceOf } from './interfaces.ts';
import type { Finding, Findings } from './keys.ts';
import { settingsOf } from './settings.ts';
import { readBlackhole, readIdentityFile, readKnown, readRatchets } from './storage.ts';

export interface ImportOptions {
  /** The reference's folder: `config` and `storage/` lie in it. */
  readonly from: string;
  /** The folder of a program whose LXMF address is to become the hub's, or its identity file. */
  readonly lxmf: string | undefined;
  /** The config file to write. */
  readonly file: string;
  /** Where the gateway keeps everything; beside the file by default. */
  readonly data: string | undefined;
  /** Whether what is there may be replaced; a copy of it stays. */
  readonly force: boolean;
}

/** What an import has done. */
export interface Imported {
  readonly file: string;
  readonly data: string;
  /** The hub's identity hash, where one was taken. */
  readonly identity?: string;
  /** Where peers write to from now on. */
  readonly lxmf?: string;
  readonly taken: readonly Finding[];
  readonly left: readonly Finding[];
}

/**
 * Takes over what a Reticulum node of the reference is: its config as kos.yaml, its identity, what it knows of others.
 * Nothing of it is changed. Throws `config/invalid` where it cannot be read, `request/conflict` where something is there
 * already and would be replaced, `store/unavailable` while the gateway runs on the data folder.
 */
export async function importRns(options: ImportOptions): Promise<Imported> {
  const { from, force } = options;
  const file = resolve(options.file);
  const data = resolve(options.data ?? join(dirname(file), 'data'));
  const findings: Findings = { taken: [], left: [] };
  const storage = join(from, 'storage');
  const root = readConfig(from);
  const { identity, ratchets } = identityOf(options, storage, findings);
  const rpcKey = rpcKeyOf(root, storage, options, findings);
  const secrets: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ...(identity === undefined ? [] : [['identity', encodeIdentity(identity)] as const]),
    ...(rpcKey === undefined ? [] : [[rpcKeyFile, encodeRpcKey(rpcKey)] as const]),
  ];
  refuseReplacing([file, ...secrets.map(([name]) => join(data, name))], force);
  const named = options.data === undefined ? undefined : data;
  const { tree, passphrases } = treeOf(
    root,
    storage,
    { data: named, beside: relative(dirname(file), data) },
    findings,
  );

  mkdirSync(data, { recursive: true, mode: 0o700 });
  {
    // First of all: it tells whether a gateway runs on this folder.
    await using store = await openStore({ dir: data });
    const known = readKnown(storage, findings);
    await Promise.all(
      known.map(one => store.mesh.save('identity-heard', toHex(one.destinationHash), encodeKnown(one))),
    );
    if (identity !== undefined && ratchets.length > 0) {
      await store.mesh.save('ratchet', lxmfAddress(identity), encodeRatchets(ratchets));
    }
  }
  for (const [name, passphrase] of passphrases) {
    writeDurably(data, name, Buffer.from(passphrase));
  }
  for (const [name, bytes] of secrets) {
    keepCopy(join(data, name));
    writeDurably(data, name, bytes);
  }
  keepCopy(file);
  mkdirSync(dirname(file), { recursive: true });
  const text = `# Made by kosctl import rns from ${resolve(from)}. Check it with: kosctl config check\n\n${stringify(tree)}`;
  writeDurably(dirname(file), file.slice(dirname(file).length + 1), Buffer.from(text));
  return {
    file,
    data,
    ...(identity !== undefined && { identity: toHex(identity.hash), lxmf: lxmfAddress(identity) }),
    ...findings,
  };
}

function readConfig(from: string): Section {
  const path = join(from, 'config');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new GatewayError('config/invalid', `${path} cannot be read: is ${from} a folder of Reticulum?`, {
      cause,
      errors: [{ pointer: path, detail: (cause as NodeJS.ErrnoException).code ?? String(cause) }],
    });
  }
  try {
    return parseIni(text);
  } catch (error) {
    if (isGatewayError(error)) {
      throw new GatewayError('config/invalid', `${path} cannot be read`, {
        cause: error,
        errors: error.errors,
      });
    }
    throw error;
  }
}

/** Whose the hub is: of the LXMF program that was named, else of the node. */
function identityOf(
  { from, lxmf }: ImportOptions,
  storage: string,
  findings: Findings,
): { readonly identity: Identity | undefined; readonly ratchets: readonly Ratchet[] } {
  const transportFile = join(storage, 'transport_identity');
  if (lxmf === undefined) {
    const identity = readIdentityFile(transportFile, findings);
    findings[identity === undefined ? 'left' : 'taken'].push({
      what: 'transport identity',
      why:
        identity === undefined
          ? 'there is none: the gateway makes one at its first start'
          : `${toHex(identity.hash)}, the hub's identity from now on`,
    });
    for (const [program, path] of [
      ['lxmd', '../.lxmd/identity'],
      ['NomadNet', '../.nomadnetwork/storage/identity'],
    ] as const) {
      if (existsSync(join(from, path))) {
        findings.left.push({
          what: `identity of ${program}`,
          why: `its LXMF address becomes the hub's with --lxmf ${resolve(from, path.split('/identity')[0] as string)}, if ${program} is not to use it any more`,
        });
      }
    }
    return { identity, ratchets: [] };
  }
  const files = [lxmf, join(lxmf, 'identity'), join(lxmf, 'storage', 'identity')];
  const file = files.find(path => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
  const identity = file === undefined ? undefined : readIdentityFile(file, findings);
  if (identity === undefined) {
    throw new GatewayError('config/invalid', `there is no identity in ${lxmf}`, {
      errors: [
        { pointer: '--lxmf', detail: 'a file of 64 bytes, or a folder with identity or storage/identity' },
      ],
    });
  }
  const address = lxmfAddress(identity);
  findings.taken.push({ what: 'LXMF identity', why: `${toHex(identity.hash)}: the hub is lxmf:${address}` });
  if (existsSync(transportFile)) {
    findings.left.push({
      what: 'transport identity',
      why: 'the hub has one identity, and it is that of LXMF',
    });
  }
  const places = ['storage/lxmf/ratchets', 'lxmf/ratchets', 'ratchets'].map(place =>
    join(lxmf, place, `${address}.ratchets`),
  );
  const kept = places.find(place => existsSync(place));
  const ratchets = kept === undefined ? [] : readRatchets(kept, identity, systemClock.now(), findings);
  if (ratchets.length > 0) {
    findings.taken.push({
      what: 'ratchets',
      why: `${ratchets.length}: what was sealed before the move can be opened`,
    });
  }
  return { identity, ratchets };
}

/**
 * The key by which the programs of this machine know their instance, where the gateway would have another: programs
 * that go on reading the reference's folder then need no change.
 */
function rpcKeyOf(
  root: Section,
  storage: string,
  { lxmf }: ImportOptions,
  findings: Findings,
): Uint8Array | undefined {
  const written = root.sections.get('reticulum')?.values.get('rpc_key');
  if (written !== undefined) {
    const key = parseRpcKey(String(written));
    findings[key === undefined ? 'left' : 'taken'].push({
      what: '[reticulum]: rpc_key',
      why:
        key === undefined
          ? 'not 16 to 256 bytes in hex'
          : 'programs of this machine go on knowing their instance by it',
    });
    if (key !== undefined) {
      return key;
    }
  }
  const own =
    lxmf === undefined ? undefined : readIdentityFile(join(storage, 'transport_identity'), findings);
  return own && rpcKeyOfIdentity(own);
}

/** kos.yaml as a tree, and the passphrases it names by the files they go into: `beside` leads from it to the data folder. */
function treeOf(
  root: Section,
  storage: string,
  { data, beside }: { readonly data: string | undefined; readonly beside: string },
  findings: Findings,
): { readonly tree: Record<string, unknown>; readonly passphrases: ReadonlyMap<string, string> } {
  const settings = settingsOf(root, findings);
  const { mesh } = settings;
  const blackholed = readBlackhole(storage, findings);
  if (blackholed.length > 0) {
    findings.taken.push({ what: 'blackhole list', why: `${blackholed.length} identities` });
  }
  const entries: Record<string, unknown>[] = [];
  const passphrases = new Map<string, string>();
  const names = new Set<string>();
  for (const section of root.sections.get('interfaces')?.sections.values() ?? []) {
    const found = interfaceOf(section, names, findings);
    if (found === undefined) {
      continue;
    }
    const { entry, passphrase } = found;
    const name = entry.name as string;
    names.add(name);
    if (passphrase !== undefined) {
      const file = `passphrase-${name}`;
      passphrases.set(file, passphrase);
      entry.ifac = { ...(entry.ifac as object), passphraseFile: `./${join(beside, file)}` };
    }
    entries.push(entry);
  }
  const tree = tidied(
    {
      ...settings,
      hub: { ...settings.hub, ...(data !== undefined && { data }) },
      ...(blackholed.length > 0 && {
        mesh: { ...mesh, blackhole: { ...mesh?.blackhole, identities: blackholed } },
      }),
      interfaces: entries,
    },
    findings,
  );
  for (const { name, kind, enabled } of tree.interfaces as {
    name: string;
    kind: string;
    enabled?: boolean;
  }[]) {
    findings.taken.push({
      what: `interface ${name}`,
      why: `${kind}${enabled === false ? ', not enabled' : ''}`,
    });
  }
  return { tree, passphrases };
}

/** The tree without what this version would not take, which is told. */
function tidied(tree: Record<string, unknown>, findings: Findings): Record<string, unknown> {
  for (;;) {
    const mistake = firstMistake(tree);
    if (mistake === undefined) {
      return tree;
    }
    const path = mistake.pointer.split('.');
    const cut = isWhole(tree, path, mistake.detail) ? path.slice(0, 2) : path;
    const title = path[0] === 'interfaces' ? `interface ${nameAt(tree, path)}` : path[0];
    findings.left.push({
      what: `${title}: ${path.slice(path[0] === 'interfaces' ? 2 : 1).join('.')}`,
      why: mistake.detail,
    });
    if (!remove(tree, cut)) {
      throw new GatewayError('config/invalid', 'what was imported is no configuration', {
        errors: [mistake],
      });
    }
  }
}

function firstMistake(tree: Record<string, unknown>) {
  try {
    loadConfig({ keys: tree, data: '/nonexistent' });
    return undefined;
  } catch (error) {
    if (isGatewayError(error, 'config/invalid') && error.errors.length > 0) {
      return error.errors[0];
    }
    throw error;
  }
}

/**
 * Whether an interface is left as a whole: where a key is missing, where without its access code it would be open to
 * everybody, and where a radio would send otherwise than it was set to.
 */
function isWhole(tree: Record<string, unknown>, path: readonly string[], detail: string): boolean {
  if (path[0] !== 'interfaces') {
    return false;
  }
  const { kind } = (tree.interfaces as { kind?: string }[])[Number(path[1])] ?? {};
  return path.length < 3 || path[2] === 'ifac' || kind === 'rnode' || detail.startsWith('missing');
}

function nameAt(tree: Record<string, unknown>, path: readonly string[]): string {
  const entry = (tree.interfaces as { name?: string }[])[Number(path[1])];
  return entry?.name ?? String(path[1]);
}

function remove(tree: Record<string, unknown>, path: readonly string[]): boolean {
  let at: unknown = tree;
  for (const key of path.slice(0, -1)) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined;
  }
  const last = path.at(-1) as string;
  if (Array.isArray(at)) {
    return at.splice(Number(last), 1).length > 0;
  }
  if (typeof at !== 'object' || at === null || !Object.hasOwn(at, last)) {
    return false;
  }
  delete (at as Record<string, unknown>)[last];
  return true;
}

function refuseReplacing(files: readonly string[], force: boolean): void {
  const there = files.filter(path => existsSync(path));
  if (there.length > 0 && !force) {
    throw new GatewayError(
      'request/conflict',
      `${there.join(' and ')} ${there.length === 1 ? 'is' : 'are'} there already: --force replaces ${there.length === 1 ? 'it' : 'them'} and keeps a copy`,
    );
  }
}

function keepCopy(file: string): void {
  if (existsSync(file)) {
    copyFileSync(file, `${file}.before-import`);
  }
}

/** The LXMF delivery destination of an identity, 32 hex digits. */
function lxmfAddress(identity: Identity): string {
  return toHex(destinationHash(nameHash('lxmf.delivery'), identity.hash));
}
