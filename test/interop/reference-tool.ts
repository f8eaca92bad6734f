import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ensureVenv, type ReferenceVersion } from '../venv.ts';

export interface ToolOptions {
  readonly version?: ReferenceVersion;
  /** Port of the node that the tool connects to as a node of its own. */
  readonly port: number;
  readonly timeout?: number; // ms
  /** What its output must have; it is asked again, three times at the most, where it gave up before. */
  readonly wanted?: RegExp;
}

export interface ToolEnd {
  readonly code: number | null;
  readonly output: string;
}

/** Runs of a tool at the most. */
const attempts = 4;

/**
 * Runs a tool, and again where it did not end or gave up: the reference's tools begin to listen for what they wait for
 * only after they have asked for it, and miss what was faster.
 */
export async function runTool(
  tool: string,
  words: readonly string[],
  options: ToolOptions,
): Promise<ToolEnd> {
  for (let run = 1; ; run++) {
    const end = await runOnce(tool, words, options);
    const isDone = end.code !== null && (options.wanted?.test(end.output) ?? true);
    if (isDone || run === attempts) return end;
  }
}

/** Runs a command line tool of the reference, such as `rnprobe`, as a node of its own with one TCP connection. */
async function runOnce(tool: string, words: readonly string[], options: ToolOptions): Promise<ToolEnd> {
  const python = await ensureVenv(options.version ?? '1.5.7');
  if (python === undefined) throw new Error('the reference is not available');
  const folder = await mkdtemp(join(tmpdir(), 'kos-tool-'));
  const lines = [
    ...['[reticulum]', 'enable_transport = No', 'share_instance = No', '[logging]', 'loglevel = 3'],
    ...['[interfaces]', '[[uplink]]', 'type = TCPClientInterface', 'enabled = yes', 'ingress_control = no'],
    ...['target_host = 127.0.0.1', `target_port = ${options.port}`],
  ];
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config'), `${lines.join('\n')}\n`);
  try {
    const child = spawn(python, [join(dirname(python), tool), '--config', folder, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeout ?? 40_000);
    const code = await new Promise<number | null>(resolve => child.once('close', resolve));
    clearTimeout(timer);
    return { code, output };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
