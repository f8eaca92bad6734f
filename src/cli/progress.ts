/** How far something long is, on a terminal. */
export interface Progress {
  /** What is done while nobody can say how far it is. */
  say(what: string): void;
  show(done: number, total: number): void;
  /** Takes it away. */
  end(): void;
}

const width = 30;
/** ms between two drawings. */
const drawEvery = 100;

/** A bar on stderr where that is a terminal, and nothing where it is not: what a script prints is no place for it. */
export function createProgress(name: string): Progress {
  const stream = process.stderr;
  const began = performance.now();
  let shown = 0;
  const draw = (text: string) => stream.write(`\r\x1b[K${name}: ${text}`);
  return {
    say(what) {
      if (stream.isTTY === true) {
        draw(what);
      }
    },
    show(done, total) {
      const now = performance.now();
      if (stream.isTTY !== true || now - shown < drawEvery) {
        return;
      }
      shown = now;
      const share = total === 0 ? 0 : Math.min(1, done / total);
      const left = share === 0 ? 0 : ((now - began) / share) * (1 - share);
      const full = Math.floor(share * width);
      const bar = '#'.repeat(full) + '.'.repeat(width - full);
      draw(`[${bar}] ${(done / 1024 / 1024).toFixed(1)} MiB, ${Math.ceil(left / 1000)} s left`);
    },
    end() {
      if (stream.isTTY === true) {
        stream.write('\r\x1b[K');
      }
    },
  };
}
