import { readdirSync, readFileSync } from 'node:fs';

/** What a process has computed so far, ms, to 10 ms; nothing where the system has no `/proc`. */
export interface ThreadTimes {
  readonly main: number;
  /** The thread of this name. */
  readonly named: (name: string) => number;
  readonly all: number;
}

/** Source: proc(5), fields 14 and 15 of `stat` in ticks of 10 ms. */
export function threadTimes(pid: number): ThreadTimes {
  const times = new Map<string, number>();
  let main = 0;
  for (const task of tasksOf(pid)) {
    try {
      const name = readFileSync(`${task}/comm`, 'utf8').trim();
      const fields = readFileSync(`${task}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      const time = (Number(fields[11]) + Number(fields[12])) * 10;
      times.set(name, (times.get(name) ?? 0) + time);
      main += task.endsWith(`/${pid}`) ? time : 0;
    } catch {
      // It has ended meanwhile.
    }
  }
  return {
    main,
    // The system cuts names at 15 characters.
    named: name => times.get(name.slice(0, 15)) ?? 0,
    all: times.values().reduce((sum, time) => sum + time, 0),
  };
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(task => `/proc/${pid}/task/${task}`);
  } catch {
    return [];
  }
}
