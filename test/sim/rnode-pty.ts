import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RNodeEmulator } from '../../src/demo/rnode-emulator.ts';
import { missingProgram } from '../package.ts';

/** Why emulated radios cannot be put on pseudo-terminals here: see `missingProgram`. */
export function missingSocat(): string | false {
  return missingProgram('socat', 'socat', '-V');
}

/** An emulated radio's serial port as a device of the machine, with socat between it and the emulator. */
export class RNodePty implements AsyncDisposable {
  /** What a program opens. It leads nowhere while the radio is unplugged. */
  readonly path: string;
  readonly #folder: string;
  readonly #emulator: RNodeEmulator;
  #socat: ChildProcess | undefined;
  #plugged = false;

  private constructor(folder: string, emulator: RNodeEmulator) {
    this.#folder = folder;
    this.path = join(folder, 'radio');
    this.#emulator = emulator;
  }

  static async plugIn(emulator: RNodeEmulator): Promise<RNodePty> {
    const made = new RNodePty(await mkdtemp(join(tmpdir(), 'kos-radio-')), emulator);
    await made.plug();
    return made;
  }

  /** The device is there when it resolves. */
  async plug(): Promise<void> {
    this.#plugged = true;
    const socat = spawn('socat', [`pty,link=${this.path},rawer`, 'stdio'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#socat = socat;
    this.#emulator.onSay(bytes => {
      if (socat.stdin.writable) {
        socat.stdin.write(bytes);
      }
    });
    socat.stdin.on('error', () => {});
    socat.stdout.on('data', (chunk: Buffer) => this.#emulator.feed(new Uint8Array(chunk)));
    // It ends with the program that opened the device: the next one finds a fresh device at the same path.
    socat.once('exit', () => {
      if (this.#plugged && this.#socat === socat) {
        void this.plug();
      }
    });
    for (let waited = 0; waited < 10_000 && !this.#isThere(); waited += 5) {
      await sleep(5);
    }
  }

  /** Pulls the plug: the device is gone and the radio has no power. */
  async unplug(): Promise<void> {
    this.#plugged = false;
    const socat = this.#socat;
    this.#socat = undefined;
    this.#emulator.onSay(undefined);
    if (socat !== undefined && socat.exitCode === null && socat.signalCode === null) {
      socat.kill('SIGKILL');
      await once(socat, 'exit');
    }
    await rm(this.path, { force: true });
    this.#emulator.boot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unplug();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #isThere(): boolean {
    try {
      return existsSync(readlinkSync(this.path));
    } catch {
      return false;
    }
  }
}
