// Runs a TypeScript entry under the Node this project needs, also where the system's own is older.
// Plain JavaScript that any Node from 16 on understands.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { configFileOf, dataFolderOf } from './data-folder.js';

const needed = 26;

export async function launch(entry) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const file = join(root, entry);
  if (Number(process.versions.node.split('.')[0]) >= needed) {
    process.argv[1] = file;
    const args = process.argv.slice(2);
    useCompileCache(dataFolderOf(args, process.env));
    const { main } = await import(pathToFileURL(file).href);
    await main({ configFile: configFileOf(args, process.env) });
    return;
  }
  const node = ownNode();
  if (node === undefined) {
    process.stderr.write(
      `This needs Node ${needed}; here is ${process.version} and the project's own is not installed.\n` +
        'Run "npm ci" (without --ignore-scripts), or "npm rebuild node".\n',
    );
    process.exitCode = 1;
    return;
  }
  const child = spawn(
    node,
    [fileURLToPath(new URL('run.js', import.meta.url)), entry, ...process.argv.slice(2)],
    {
      stdio: 'inherit',
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
  });
}

// On before the first TypeScript file: without it the type stripper is loaded, by each thread anew, which costs
// 17 to 29 MB a thread and 0.1 s. A folder that cannot be made is named once the configuration has been read.
function useCompileCache(data) {
  const folder = join(data, 'compile-cache');
  if (existsSync(data)) {
    module.enableCompileCache(folder);
    process.env.NODE_COMPILE_CACHE = folder;
  }
}

function ownNode() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('node/package.json'));
    const node = join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}
