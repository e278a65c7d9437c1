import { errorAnswer, type Answer } from './answer.ts';

export interface PullLimit {
  readonly limit: number;
  readonly remaining: number;
  readonly windowSeconds: number;
}

const SPENT =
  'You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit';

/** Docker Hub's pull limit: manifest GETs count, manifest HEADs tell the state and are free. */
export class PullBudget {
  /** Undefined: no limit, and no headers that speak of one. */
  state: PullLimit | undefined;

  constructor(state: PullLimit | undefined) {
    this.state = state;
  }

  get isSpent(): boolean {
    return this.state !== undefined && this.state.remaining <= 0;
  }

  takeOne(): void {
    if (this.state !== undefined) this.state = { ...this.state, remaining: this.state.remaining - 1 };
  }

  headers(): Record<string, string> {
    if (this.state === undefined) return {};
    const { limit, remaining, windowSeconds } = this.state;
    return {
      'ratelimit-limit': `${limit};w=${windowSeconds}`,
      'ratelimit-remaining': `${remaining};w=${windowSeconds}`,
      'docker-ratelimit-source': '192.0.2.1',
    };
  }

  spentAnswer(): Answer {
    return errorAnswer(429, { code: 'TOOMANYREQUESTS', message: SPENT }, { headers: this.headers() });
  }
}
