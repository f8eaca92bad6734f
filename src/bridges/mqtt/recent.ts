/** A set that remembers only the last `capacity` members added to it. */
export class RecentSet {
  readonly #capacity: number;
  readonly #members = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(member: string): void {
    this.#members.delete(member);
    this.#members.add(member);
    if (this.#members.size > this.#capacity) {
      this.#members.delete(this.#members.keys().next().value ?? '');
    }
  }

  has(member: string): boolean {
    return this.#members.has(member);
  }

  delete(member: string): void {
    this.#members.delete(member);
  }

  [Symbol.iterator](): Iterator<string> {
    return [...this.#members][Symbol.iterator]();
  }
}
