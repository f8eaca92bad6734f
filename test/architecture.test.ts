import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');

interface Import {
  readonly to: string;
  readonly typesOnly: boolean;
}

interface Source {
  readonly path: string;
  readonly text: string;
  /** The text without comments, so that a rule may be named where it is kept. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const sources: readonly Source[] = globSync('src/**/*.ts', { cwd: root }).map(path => {
  const text = readFileSync(join(root, path), 'utf8');
  return { path, text, code: withoutComments(text), imports: [...importsOf(path, text)] };
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

function* importsOf(path: string, text: string): Generator<Import> {
  const statement =
    /^(?:import|export)\s(type\s)?([^;]*?)from\s+'([^']+)'|\bimport\(\s*'([^']+)'|^import\s+'([^']+)'/gm;
  for (const [, type, names = '', from, dynamic, bare] of text.matchAll(statement)) {
    const target = (from ?? dynamic ?? bare) as string;
    const listed = /^\s*\{([\s\S]*)\}\s*$/
      .exec(names)?.[1]
      ?.split(',')
      .map(name => name.trim())
      .filter(Boolean);
    const typesOnly = type !== undefined || (listed?.every(name => name.startsWith('type ')) ?? false);
    yield { to: target.startsWith('.') ? normalize(join(dirname(path), target)) : target, typesOnly };
  }
}

/** Says of every import of the files under `folder` that it may be there, or which it is. */
function onlyImports(
  folder: string,
  allowed: (to: string, source: Source, typesOnly: boolean) => boolean,
): void {
  const wrong = sources
    .filter(({ path }) => path.startsWith(folder))
    .flatMap(source =>
      source.imports
        .filter(({ to, typesOnly }) => !allowed(to, source, typesOnly))
        .map(({ to }) => `${source.path} imports ${to}`),
    );
  assert.deepEqual(wrong, []);
}

/** Says where in the code a pattern stands though it should not. */
function nowhere(pattern: RegExp, among: (path: string) => boolean = () => true): void {
  const found = sources.filter(({ path, code }) => among(path) && pattern.test(code)).map(({ path }) => path);
  assert.deepEqual(found, []);
}

const isPlatform = (to: string) => !to.startsWith('src/');
const within = (to: string, ...folders: string[]) => folders.some(folder => to.startsWith(`src/${folder}/`));

test('the rules look at something', () => {
  assert.ok(sources.length > 10 && sources.some(({ imports }) => imports.length > 0));
});

test('lib knows nothing of meshes and gateways, so that both can stand on it', () => {
  onlyImports('src/lib/', to => isPlatform(to) || within(to, 'lib'));
});

test('the mesh is a function of bytes and time: it imports crypto and lib, and can be simulated whole', () => {
  onlyImports('src/mesh/', to => to === 'node:crypto' || within(to, 'lib', 'mesh'));
});

test('the mesh reads no clock, throws no dice and sets no timer of its own: a seed would not repeat it', () => {
  nowhere(
    /\bDate\.now\(|new Date\(\)|\bMath\.random\(|\bset(?:Timeout|Interval|Immediate)\(|performance\.now\(/,
    path => path.startsWith('src/mesh/'),
  );
});

test('a radio plugs into the mesh and knows nothing of the gateway: a new one is a new file', () => {
  onlyImports('src/radio/', to => isPlatform(to) || within(to, 'lib', 'mesh', 'radio'));
});

test('the gateway decodes no packet: of the mesh it knows two contracts, as types', () => {
  const contracts = ['src/mesh/interface.ts', 'src/mesh/storage.ts'];
  onlyImports(
    'src/gateway/',
    (to, _, typesOnly) =>
      isPlatform(to) || within(to, 'lib', 'gateway') || (typesOnly && contracts.includes(to)),
  );
});

test('only a store opens a database or a thread: everything else asks it', () => {
  const storeOnly = ['node:sqlite', 'node:worker_threads'];
  onlyImports(
    'src/gateway/',
    (to, { path }) => /^src\/gateway\/(?:replicas\/)?store\//.test(path) || !storeOnly.includes(to),
  );
});

test('bridges never meet but in what lies beside them: what one far side says, the switch carries', () => {
  onlyImports('src/bridges/', (to, { path }) => {
    const shared = /^src\/bridges\/[^/]+\.ts$/;
    const own = /^src\/bridges\/[^/]+\//.exec(path)?.[0];
    return (
      isPlatform(to) ||
      within(to, 'lib', 'gateway', 'mesh') ||
      shared.test(to) ||
      (own !== undefined && to.startsWith(own))
    );
  });
});

test('every error has a code: a bare one has no place in metrics, logs or problems', () => {
  nowhere(/\bthrow new Error\(/);
});

test('no default exports: a thing has one name everywhere', () => {
  nowhere(/^export default\b/m);
});

test('the environment is read where the program starts and nowhere else: configuration has one source', () => {
  nowhere(/\bprocess\.env\b/, path => !['src/main.ts', 'src/cli/kosctl.ts'].includes(path));
});

test('a service logs by its Log: lines on the console have no keys and no level', () => {
  nowhere(/\bconsole\./, path => !path.startsWith('src/cli/') && path !== 'src/demo.ts');
});

test('nothing is left to do in comments: what is missing is written down where people look for it', () => {
  const marks = new RegExp(
    `\\b(?:${['TO', 'FIX', 'XX'].map((mark, i) => mark + ['DO', 'ME', 'X'][i]).join('|')})\\b`,
  );
  assert.deepEqual(
    sources.filter(({ text }) => marks.test(text)).map(({ path }) => path),
    [],
  );
});
