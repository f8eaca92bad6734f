import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { locked } from '../lock.ts';

/*
 * The image, built as a user's docker would build it, without a registry and without a daemon: buildah as root, with a
 * storage of its own under .cache/. What the Dockerfile names as its base is made here once: Debian's minimal system with
 * this project's own Node and an npm, tagged with exactly that name.
 */

const execute = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const home = join(root, '.cache', 'container');
/** Debian's packages that these tests need. */
export const debianPackages = ['buildah', 'debootstrap'] as const;
const npmVersion = '11.19.1';

/** Runs a program to its end; rejects with what it said. */
export async function sh(program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await execute(program, args, {
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, BUILDAH_ISOLATION: 'chroot' },
    });
    return stdout;
  } catch (error) {
    const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string };
    throw new Error(`${program} ${args.join(' ')}\n${stdout.slice(-2000)}\n${stderr.slice(-4000)}`, {
      cause: error,
    });
  }
}

/** buildah on a storage of its own, so that the base that is made up here is never taken for the real one. */
export async function buildah(...args: string[]): Promise<string> {
  return onStorage(await driver(), args);
}

let chosen: Promise<string> | undefined;

/** overlay takes a third of the time; vfs, which copies every layer, works where overlay does not: inside a container. */
function driver(): Promise<string> {
  chosen ??= onStorage('overlay', ['info']).then(
    () => 'overlay',
    () => 'vfs',
  );
  return chosen;
}

function onStorage(name: string, args: readonly string[]): Promise<string> {
  const folders = ['--root', join(home, name), '--runroot', join(home, `${name}-run`)];
  return sh('buildah', '--storage-driver', name, ...folders, ...args);
}

/**
 * Why the image cannot be built here, for node:test's `skip`, said loudly; false when it can. Throws where `CI` is set
 * and only packages are missing.
 */
export async function missingBuildah(): Promise<string | false> {
  const reason = (await whyNever()) ?? (await whyNotYet());
  if (reason === undefined) return false;
  console.error(
    `\n${'!'.repeat(100)}\n${reason}\nThe tests of the container image are skipped.\n${'!'.repeat(100)}\n`,
  );
  return reason;
}

/** What this machine cannot change. */
async function whyNever(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'building the image takes Linux';
  if (process.getuid?.() !== 0) return 'building the image takes root';
  const may = await sh('unshare', '--mount', '--pid', '--fork', 'true').then(
    () => true,
    () => false,
  );
  return may ? undefined : 'building the image takes a root that may make namespaces';
}

async function whyNotYet(): Promise<string | undefined> {
  for (const program of debianPackages) {
    if ((await sh('which', program).catch(() => '')) !== '') continue;
    const reason = `${program} is missing; on Debian: apt-get install ${debianPackages.join(' ')}`;
    if (process.env.CI) throw new Error(reason);
    return reason;
  }
  return undefined;
}

/** What an image says about how it is run. */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd?: readonly string[] | null;
  readonly WorkingDir: string;
  readonly StopSignal: string;
  readonly Volumes: Readonly<Record<string, unknown>>;
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

/** An image that was built, mounted; dispose it with `await using`. */
export interface Image extends AsyncDisposable {
  readonly config: ImageConfig;
  /** Where its files are. */
  readonly mount: string;
  /** Bytes of the layers that are the project's own, unpacked. */
  readonly ownBytes: number;
}

/** Builds the project's Dockerfile. */
export async function buildImage(): Promise<Image> {
  const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');
  const bases = new Set([...dockerfile.matchAll(/^FROM\s+(\S+)/gm)].map(match => match[1] as string));
  const [base, ...others] = bases;
  if (base === undefined || others.length > 0) throw new Error(`one base is expected, not ${[...bases]}`);
  await using cleanup = new AsyncDisposableStack();
  await mkdir(home, { recursive: true });
  const tag = `localhost/kos-gateway:test-${process.pid}`;
  const npmrc = await npmSettings();
  cleanup.defer(() => rm(npmrc.folder, { recursive: true, force: true }));
  // One process at a time: another's clean-up takes away what is used here.
  await locked(join(home, 'lock'), async () => {
    await ensureBase(base);
    const secrets = [`id=npmrc,src=${npmrc.file}`, ...(await certificates())];
    const given = secrets.flatMap(secret => ['--secret', secret]);
    await buildah('bud', '--pull-never', '--format', 'docker', ...given, '--tag', tag, root);
  });
  const ownBytes = await ownLayers(tag);
  const inspected = JSON.parse(await buildah('inspect', '--type', 'image', tag)) as {
    Docker: { config: ImageConfig };
  };
  const container = (await buildah('from', '--pull-never', tag)).trim();
  const mount = (await buildah('mount', container)).trim();
  return {
    config: inspected.Docker.config,
    mount,
    ownBytes,
    async [Symbol.asyncDispose]() {
      await buildah('umount', container);
      await buildah('rm', container);
      await buildah('rmi', '--force', tag);
    },
  };
}

/** npm inside the build asks the registry that npm here asks, whatever file that is written in. */
async function npmSettings(): Promise<{ folder: string; file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-npmrc-'));
  const file = join(folder, 'npmrc');
  const user = (await sh('npm', 'config', 'get', 'userconfig')).trim();
  await copyFile(user, file).catch(() => writeFile(file, ''));
  const registry = (await sh('npm', 'config', 'get', 'registry')).trim();
  const given = await readFile(file, 'utf8');
  await writeFile(file, `${given}\nregistry=${registry}\n`, { mode: 0o600 });
  return { folder, file };
}

/** The authorities that npm here trusts where it was told of more than Node's own. */
async function certificates(): Promise<string[]> {
  const told = process.env.NODE_EXTRA_CA_CERTS ?? (await sh('npm', 'config', 'get', 'cafile')).trim();
  return existsSync(told) ? [`id=ca,src=${told}`] : [];
}

async function ensureBase(name: string): Promise<void> {
  const node = join(root, 'node_modules', 'node', 'bin', 'node');
  const version = (await sh(node, '--version')).trim();
  const codename =
    /VERSION_CODENAME=(\w+)/.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? 'bookworm';
  const made = `${name} ${version} ${codename} npm ${npmVersion} 1\n`;
  const stamp = join(home, `made-from-${await driver()}.txt`);
  const images = await buildah('images', '--quiet', '--filter', `reference=${name}`).catch(() => '');
  if (images !== '' && (await readFile(stamp, 'utf8').catch(() => '')) === made) return;
  console.log(
    `making a base like ${name} with Debian ${codename} and Node ${version} under .cache/container …`,
  );
  await rm(stamp, { force: true });
  for (const left of (await buildah('containers', '--quiet').catch(() => '')).split('\n')) {
    if (left !== '') await buildah('rm', left);
  }
  await buildah('rmi', '--all', '--force').catch(() => {});
  const container = (await buildah('from', 'scratch')).trim();
  const mount = (await buildah('mount', container)).trim();
  await sh(
    'debootstrap',
    '--variant=minbase',
    '--include=libatomic1,ca-certificates',
    codename,
    mount,
    ...(await debianMirror()),
  );
  await sh('chroot', mount, 'useradd', '--create-home', '--uid', '1000', '--shell', '/bin/bash', 'node');
  await copyFile(node, join(mount, 'usr/local/bin/node'));
  const folder = await mkdtemp(join(tmpdir(), 'kos-npm-'));
  await sh('npm', 'install', '--prefix', folder, '--no-audit', '--no-fund', `npm@${npmVersion}`);
  await sh('cp', '-a', join(folder, 'node_modules'), join(mount, 'usr/local/lib/node_modules'));
  await rm(folder, { recursive: true });
  await sh('ln', '-s', '../lib/node_modules/npm/bin/npm-cli.js', join(mount, 'usr/local/bin/npm'));
  await rm(join(mount, 'var/cache/apt'), { recursive: true, force: true });
  await rm(join(mount, 'var/lib/apt/lists'), { recursive: true, force: true });
  await buildah('umount', container);
  await buildah('commit', '--quiet', '--rm', container, name);
  await writeFile(stamp, made);
}

/** The mirror that this machine's apt uses; none lets debootstrap choose. */
async function debianMirror(): Promise<string[]> {
  const uris = await sh('apt-get', 'indextargets', '--format', '$(REPO_URI)').catch(() => '');
  return uris
    .split('\n')
    .filter(uri => /\/debian\/?$/.test(uri))
    .slice(0, 1);
}

/** The layers of an image above its base, in bytes as they unpack. */
async function ownLayers(tag: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-oci-'));
  try {
    await buildah('push', '--quiet', '--disable-compression', '--format', 'v2s2', tag, `dir:${folder}`);
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as {
      layers: { size: number; digest: string }[];
    };
    // Under --disable-compression a layer lies there as it unpacks.
    const names = new Set(await readdir(folder));
    const sizes = manifest.layers.map(async ({ digest }) => {
      const name = digest.replace('sha256:', '');
      if (!names.has(name)) throw new Error(`layer ${name} is not there`);
      return (await stat(join(folder, name))).size;
    });
    const [, ...own] = await Promise.all(sizes);
    return own.reduce((sum, size) => sum + size, 0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
