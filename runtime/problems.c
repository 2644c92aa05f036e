/* Problems: what does not fit, listed. */
#include "runtime/problems.h"

enum { MOST_PROBLEMS = 10 };

Problems problems_new(Arena *arena)
{
    return (Problems){.text = text_new(arena)};
}

void problems_add(Problems *problems, const char *what, const char *name, const char *rest)
{
    if (problems->count++ < MOST_PROBLEMS)
        text_printf(&problems->text, "\n  %s: '%s'%s%s", what, name, *rest ? " " : "", rest);
}

const char *problems_text(const Problems *problems, const char *what)
{
    Arena *arena = problems->text.arena;
    int more = problems->count - MOST_PROBLEMS;
    const char *rest = more > 0 ? arena_printf(arena, "\n  and %d more", more) : "";
    return problems->count ? arena_printf(arena, "%s:%s%s", what, problems->text.data, rest) : NULL;
}
