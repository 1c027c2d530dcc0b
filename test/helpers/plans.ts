import postgres from 'postgres';

/** One node of a plan, as EXPLAIN (format json) gives it. */
interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  Plans?: PlanNode[];
  'Shared Hit Blocks'?: number;
  'Shared Read Blocks'?: number;
}

/** A statement that ran, also within a function, and its plan. */
export interface Plan {
  query: string;
  /** Tables that were read from end to end. */
  scanned: string[];
  /** Blocks of 8 KiB that were looked at. */
  blocks: number;
}

/**
 * Runs statements on a connection of their own and gives the plan of each, those in functions too
 * (auto_explain, which every PostgreSQL brings along). `role`: as whom; row-level security holds. What
 * came before `forget` is called is left out: a first call also reads the catalogue.
 */
export async function plansOf(
  url: string,
  role: string | undefined,
  run: (sql: postgres.Sql, forget: () => void) => Promise<unknown>,
): Promise<Plan[]> {
  const plans: Plan[] = [];
  const sql = postgres(url, {
    max: 1,
    onnotice: ({ message }) => {
      const json = message === undefined ? undefined : /plan:\n(\{.*\})\s*$/s.exec(message)?.[1];
      if (json !== undefined) plans.push(planOf(json));
    },
  });
  try {
    await sql.unsafe(`
      load 'auto_explain';
      set auto_explain.log_min_duration = 0;
      set auto_explain.log_nested_statements = on;
      set auto_explain.log_analyze = on;
      set auto_explain.log_buffers = on;
      set auto_explain.log_format = json;
      set client_min_messages = log`);
    if (role !== undefined) await sql`set role ${sql(role)}`;
    const forget = () => {
      plans.length = 0;
    };
    forget();
    await run(sql, forget);
  } finally {
    await sql.end();
  }
  return plans;
}

function planOf(json: string): Plan {
  const { 'Query Text': query, Plan: top } = JSON.parse(json) as {
    'Query Text': string;
    Plan: PlanNode;
  };
  const scanned: string[] = [];
  const visit = (node: PlanNode): void => {
    if (node['Node Type'] === 'Seq Scan') scanned.push(node['Relation Name'] ?? '?');
    node.Plans?.forEach(visit);
  };
  visit(top);
  const blocks = (top['Shared Hit Blocks'] ?? 0) + (top['Shared Read Blocks'] ?? 0);
  return { query, scanned, blocks };
}
