interface Job {
  goOn: (() => void | Promise<void>) | undefined;
}

/** Jobs under way before whoever brings them is asked to wait, and when they may go on. */
const most = 64;
const few = 16;

/** What is worked on elsewhere, several at once, goes on in the order in which it came. */
export class InOrder {
  readonly #jobs: Job[] = [];
  #draining = false;
  #relief: PromiseWithResolvers<void> | undefined;

  /** Jobs that have not gone on. */
  get size(): number {
    return this.#jobs.length;
  }

  /** Resolves when there is room; undefined while there is. */
  get full(): Promise<void> | undefined {
    if (this.#jobs.length < most) {
      return undefined;
    }
    this.#relief ??= Promise.withResolvers<void>();
    return this.#relief.promise;
  }

  /**
   * A job begins. What it gives is called when it is done, with what comes then, which must not throw. A promise of
   * that keeps all behind it waiting.
   */
  begin(): (goOn: () => void | Promise<void>) => void {
    const job: Job = { goOn: undefined };
    this.#jobs.push(job);
    return goOn => {
      job.goOn = goOn;
      if (!this.#draining) {
        this.#drain();
      }
    };
  }

  #drain(): void {
    this.#draining = true;
    for (let goOn = this.#jobs[0]?.goOn; goOn !== undefined; goOn = this.#jobs[0]?.goOn) {
      const wait = goOn();
      this.#jobs.shift();
      if (this.#jobs.length <= few) {
        this.#relief?.resolve();
        this.#relief = undefined;
      }
      if (wait !== undefined) {
        const resume = () => this.#drain();
        void wait.then(resume, resume);
        return;
      }
    }
    this.#draining = false;
  }
}
