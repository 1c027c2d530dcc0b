import type postgres from 'postgres';

/** Who may do what: object → role → what is allowed, such as `select insert*`; `*`: some columns only. */
export type RoleMatrix = Record<string, Record<string, string>>;

/** The roles of the matrix. acme_owner owns everything and stands in no column. */
export const matrixRoles = [
  'acme_app',
  'acme_multi_tenant',
  'acme_reader',
  'acme_responder',
  'acme_admin',
  'acme_worker',
] as const;

/** What the roles may really do in schema acme, memberships counted, and which schemas they may enter. */
export async function roleMatrix(sql: postgres.Sql): Promise<RoleMatrix> {
  const rows = await sql<{ object: string; role: string; allowed: string }[]>`
    with role (role) as (
      select unnest(${[...matrixRoles]}::text[])
    ), relation as (
      select c.oid, c.oid::regclass::text as object
        from pg_class c
       where c.relnamespace = 'acme'::regnamespace
         and c.relkind in ('r', 'p', 'v', 'm', 'f')
    )
    select r.object, role.role,
           coalesce((select string_agg(case when has_table_privilege(role.role, r.oid, p.name) then p.name else p.name || '*' end,
                                       ' ' order by p.at)
              from (values (1, 'select', true), (2, 'insert', true), (3, 'update', true), (4, 'delete', false),
                           (5, 'truncate', false), (6, 'references', true), (7, 'trigger', false)) p (at, name, of_columns)
             where has_table_privilege(role.role, r.oid, p.name)
                or case when p.of_columns then has_any_column_privilege(role.role, r.oid, p.name) end), '') as allowed
      from relation r, role
    union all
    select p.oid::regprocedure::text, role.role, case when has_function_privilege(role.role, p.oid, 'execute') then 'execute' else '' end
      from pg_proc p, role
     where p.pronamespace = 'acme'::regnamespace
    union all
    select 'schema ' || n.nspname, role.role,
           concat_ws(' ', case when has_schema_privilege(role.role, n.oid, 'usage') then 'usage' end,
                          case when has_schema_privilege(role.role, n.oid, 'create') then 'create' end)
      from pg_namespace n, role
     where n.nspname in ('acme', 'acme_private', 'acme_worker')`;
  const matrix: RoleMatrix = {};
  for (const { object, role, allowed } of rows) (matrix[object] ??= {})[role] = allowed;
  return matrix;
}

/**
 * Reads the table below a heading of a Markdown text: the first cell of a line is the object, the
 * others what the role of that column may do. Throws where there is no such table.
 */
export function readMatrix(markdown: string, heading: string): RoleMatrix {
  const section = markdown.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  const lines = (section ?? '').split('\n').filter((line) => line.startsWith('|'));
  const [head, , ...body] = lines.map((line) =>
    line
      .slice(1, line.lastIndexOf('|'))
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
  if (head === undefined) throw new Error(`There is no table below the heading ${heading}.`);
  const matrix: RoleMatrix = {};
  for (const [object, ...cells] of body) {
    if (object === undefined || matrix[object] !== undefined) {
      throw new Error(`${object ?? 'A line'} stands twice below ${heading}.`);
    }
    matrix[object] = Object.fromEntries(head.slice(1).map((role, i) => [role, cells[i] ?? '']));
  }
  return matrix;
}
