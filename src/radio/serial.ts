import { read } from 'node:fs';
import { promisify } from 'node:util';
import { GatewayError } from '../lib/errors.ts';

/** A serial line that is open: bytes both ways until it is closed or lost. */
export interface SerialLink {
  /** Which device it is, for messages. */
  readonly path: string;
  /** Resolves when it is closed: with the reason where it was lost, in words. */
  readonly closed: Promise<GatewayError | undefined>;
  /** Who hears what comes in, in place of whoever did before; the bytes change owner. */
  onData(listener: (chunk: Uint8Array) => void): void;
  /** Resolves when the line has taken the bytes. Rejects with `radio/offline` when it is lost. */
  write(bytes: Uint8Array): Promise<void>;
  /** Reads no further until `resume`. */
  pause(): void;
  resume(): void;
  /** Resolves when it is closed; any number of times. */
  close(): Promise<void>;
}

/** How bytes travel on a line; by default as an RNode's do: 115 200 bit/s, 8 bits, no parity, 1 stop bit. */
export interface LineSettings {
  readonly speed: number;
  readonly dataBits: 7 | 8;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
}

/** Opens a serial line. Rejects with `radio/offline`, in words. */
export type OpenSerial = (path: string, settings?: LineSettings) => Promise<SerialLink>;

const rnodeLine: LineSettings = { speed: 115_200, dataBits: 8, parity: 'none', stopBits: 1 };

/**
 * Opens a serial device or a pseudo-terminal for nobody else. The library is loaded with the first port:
 * a hub without a radio does not pay for it.
 */
export async function openSerial(path: string, settings = rnodeLine): Promise<SerialLink> {
  const { SerialPort } = await import('serialport');
  const { speed: baudRate, dataBits, parity, stopBits } = settings;
  const port = new SerialPort({ path, baudRate, dataBits, parity, stopBits, lock: true, autoOpen: false });
  const closed = Promise.withResolvers<GatewayError | undefined>();
  let why: GatewayError | undefined;
  const lose = (error: Error | null | undefined) => {
    why ??= error ? lost(path, error) : undefined;
    if (port.isOpen) {
      port.close(() => {});
    }
  };
  await new Promise<void>((resolve, reject) => {
    port.open(error => (error ? reject(lost(path, error)) : resolve()));
  });
  noticeHangup(port.port as unknown as Binding);
  let closing = false;
  let listener = (_: Uint8Array) => {};
  port.on('data', (chunk: Buffer) => listener(new Uint8Array(chunk)));
  port.on('error', lose);
  port.on('close', (error: Error | null | undefined) => {
    closed.resolve(closing ? why : (why ?? lost(path, error ?? undefined)));
  });
  return {
    path,
    closed: closed.promise,
    onData(next) {
      listener = next;
    },
    async write(bytes) {
      if (!port.isOpen) {
        throw why ?? lost(path, undefined);
      }
      const written = new Promise<void>((resolve, reject) => {
        port.write(Buffer.from(bytes), error => (error ? reject(lost(path, error)) : resolve()));
      });
      const gone = closed.promise.then(reason => {
        throw reason ?? lost(path, undefined);
      });
      gone.catch(() => {});
      await Promise.race([written, gone]);
    },
    pause: () => void port.pause(),
    resume: () => void port.resume(),
    async close() {
      closing = true;
      if (port.isOpen) {
        port.close(() => {});
      }
      await closed.promise;
    },
  };
}

/** What the library reads a port with, on Unix. */
interface Binding {
  readonly fd?: number | null;
  readonly poller?: { once(event: 'readable', listener: (error?: Error | null) => void): unknown };
  read?: (buffer: Buffer, offset: number, length: number) => Promise<{ buffer: Buffer; bytesRead: number }>;
}

const readFile = promisify(read);

/**
 * A line whose device is gone reads as nothing, without end. The library takes nothing for not yet and asks
 * again at once, for ever; a line that is only quiet never reads so, because it is not read in a blocking way.
 */
function noticeHangup(binding: Binding): void {
  const { poller } = binding;
  if (typeof binding.fd !== 'number' || poller === undefined) {
    return;
  }
  binding.read = async (buffer, offset, length) => {
    for (;;) {
      if (typeof binding.fd !== 'number') {
        throw Object.assign(new RangeError('closed'), { canceled: true });
      }
      try {
        const { bytesRead } = await readFile(binding.fd, buffer, offset, length, null);
        if (bytesRead > 0) {
          return { buffer, bytesRead };
        }
      } catch (error) {
        if (!['EAGAIN', 'EINTR'].includes((error as NodeJS.ErrnoException).code ?? '')) {
          throw Object.assign(error as Error, { canceled: typeof binding.fd !== 'number' });
        }
        await new Promise<void>((resolve, reject) => {
          poller.once('readable', failure => (failure ? reject(failure) : resolve()));
        });
        continue;
      }
      throw Object.assign(new RangeError('disconnected'), { disconnect: true });
    }
  };
}

function lost(path: string, error: Error | undefined): GatewayError {
  return new GatewayError('radio/offline', `${path}: ${inWords(error)}`, { retryable: true, cause: error });
}

/** Why a serial port failed, for people. The library gives the system's words, not its codes. */
function inWords(error: Error | undefined): string {
  const message = error?.message ?? '';
  if (message === '' || gone.test(message)) {
    return 'unplugged';
  }
  const [, words] = failures.find(([pattern]) => pattern.test(message)) ?? [];
  return words ?? message;
}

/** What a line says that was open and whose device is no more. */
const gone = /disconnected|bad file descriptor|input\/output|i\/o error|no such device or address/i;
const failures: readonly (readonly [RegExp, string])[] = [
  [/no such file|no such device/i, 'no such device: is the radio plugged in?'],
  [/permission denied/i, 'not allowed to open it: add the user of the gateway to its group (often dialout)'],
  [/cannot lock port|device or resource busy/i, 'in use by another program'],
  [/inappropriate ioctl|not a typewriter/i, 'not a serial port'],
];
