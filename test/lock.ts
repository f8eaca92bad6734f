import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs `body` while no other process of this machine runs it for the same lock; a dead holder's lock is taken over. */
export async function locked(lock: string, body: () => Promise<void>): Promise<void> {
  const until = Date.now() + 400_000;
  while (!(await tryLock(lock))) {
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
    if (holder > 0 && !isAlive(holder)) await rm(lock, { force: true });
    if (Date.now() > until) throw new Error(`${lock} is still held; remove it if nothing is running`);
    await sleep(200);
  }
  try {
    await body();
  } finally {
    await rm(lock, { force: true });
  }
}

async function tryLock(lock: string): Promise<boolean> {
  return writeFile(lock, String(process.pid), { flag: 'wx' }).then(
    () => true,
    () => false,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
