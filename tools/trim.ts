import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

/*
 * Takes out of a node_modules folder made for production what no running gateway opens, for the container image:
 *
 *     node tools/trim.ts FOLDER [platform-arch]
 *
 * Licences stay. Folders are only taken away at the root of a package, where a name such as `test` means what it says.
 */

/** At the root of any package. */
const folders = new Set([
  'test',
  'tests',
  'docs',
  'doc',
  'example',
  'examples',
  'benchmark',
  'benchmarks',
  '.github',
]);
const files = /\.(?:map|d\.[cm]?ts|tsbuildinfo)$/;
/** Whole packages, each with the reason why nothing misses it. */
const packages: Readonly<Record<string, string>> = {
  '@types': 'types are stripped, never read',
  'undici-types': 'types alone',
  '@matrix-org/matrix-sdk-crypto-wasm':
    'the gateway reads no encrypted room, and loads the SDK without its crypto',
};
/** Folders of single packages. */
const parts = ['matrix-js-sdk/src', 'matrix-widget-api/src', 'zod/src', '@serialport/bindings-cpp/src'];
/** Where prebuilt binaries of every platform lie. */
const prebuilt = ['@serialport/bindings-cpp/prebuilds'];

const [folder, platform = `${process.platform}-${process.arch}`] = process.argv.slice(2);
if (folder === undefined || !existsSync(folder)) {
  console.error('usage: node tools/trim.ts FOLDER [platform-arch]');
  process.exit(2);
}
const root = resolve(folder);
const before = sizeOf(root);
for (const path of [...Object.keys(packages), ...parts]) {
  rmSync(join(root, path), { recursive: true, force: true });
}
for (const path of prebuilt) {
  const there = existsSync(join(root, path)) ? readdirSync(join(root, path)) : [];
  // Some names stand for two architectures, such as darwin-x64+arm64.
  for (const name of there.filter(one => !matches(one, platform))) {
    rmSync(join(root, path, name), { recursive: true });
  }
}
for (const path of packageFolders(root)) {
  const { main } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as { main?: unknown };
  for (const name of readdirSync(path)) {
    const entry = typeof main === 'string' && main.replace(/^\.\//, '').startsWith(`${name}/`);
    if (folders.has(name.toLowerCase()) && !entry) {
      rmSync(join(path, name), { recursive: true });
    }
  }
}
for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && files.test(entry.name)) {
    rmSync(join(entry.parentPath, entry.name));
  }
}
console.log(`${folder}: ${megabytes(before)} MB, now ${megabytes(sizeOf(root))} MB`);

function matches(name: string, wanted: string): boolean {
  const [system = '', architecture = ''] = wanted.split('-');
  return name === wanted || (name.startsWith(`${system}-`) && name.split(/[-+]/).includes(architecture));
}

/** Every package, scoped and nested ones included. */
function packageFolders(modules: string): string[] {
  const names = readdirSync(modules).filter(name => !name.startsWith('.'));
  const paths = names.flatMap(name =>
    name.startsWith('@') ? readdirSync(join(modules, name)).map(one => join(name, one)) : [name],
  );
  return paths
    .map(path => join(modules, path))
    .filter(path => existsSync(join(path, 'package.json')))
    .flatMap(path => {
      const nested = join(path, 'node_modules');
      return [path, ...(existsSync(nested) ? packageFolders(nested) : [])];
    });
}

function sizeOf(path: string): number {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
