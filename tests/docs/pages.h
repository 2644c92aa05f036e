/* Pages: the documents of the repository as tests read them.  What stands between ``` fences is checked by what the fence says:
 *
 *   ```cm          a program: it passes `cmc check`, and does what its comments say (tests/api/docs_programs_test.c)
 *   ```cm PATH     a part of that file, line by line; so for every language (tests/api/docs_pages_test.c)
 *   ```console     commands, each after a `$`, and what they print; a line `...` stands for any lines
 * (tests/api/docs_pages_test.c)
 *   ```ir, kernel  text of the IRs that parses, verifies and prints as it stands (tests/unit/docs_tables_test.c)
 *
 * Other fences, and text that is indented, are for people only. */
#ifndef CM_TESTS_DOCS_PAGES_H
#define CM_TESTS_DOCS_PAGES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Block {
    const char *page;            /* below the source directory */
    int line;                    /* of the fence, from 1 */
    const char *language, *path; /* path: "" if there is none */
    const char *text;
} Block;

enum { MOST_BLOCKS = 400 };
typedef struct BlockList {
    Block items[MOST_BLOCKS];
    int count;
} BlockList;

static const char *const pages[] = {"README.md", "docs/language.md", "docs/ir.md", "docs/embedding.md", "std/README.md"};
enum { PAGES = sizeof pages / sizeof *pages };

/* Pages are read before there is a test that could fail: a page that is not as it should be ends the process. */
static inline void page_demand(bool holds, const char *page, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", page, what);
    abort();
}

/* The whole file, to be freed. */
static inline char *page_read(const char *path)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s", CM_SOURCE_DIR, path);
    FILE *file = fopen(whole, "rb");
    page_demand(file != NULL, path, "it cannot be read");
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    page_demand(text && fread(text, 1, size, file) == size, path, "it cannot be read");
    text[size] = 0;
    fclose(file);
    return text;
}

static inline char *page_next_line(char *line)
{
    char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

/* ```LANGUAGE PATH */
static inline Block block_of_fence(const char *page, int number, char *fence)
{
    Block block = {.page = page, .line = number, .language = "", .path = "", .text = page_next_line(fence)};
    fence[strcspn(fence, "\n")] = 0;
    char *words = NULL;
    char *language = strtok_r(fence + 3, " ", &words), *path = strtok_r(NULL, " ", &words);
    block.language = language ? language : "";
    block.path = path ? path : "";
    return block;
}

/* Cuts the text of a page into its blocks, which lie in it. */
static inline void page_blocks(const char *page, char *text, BlockList *list)
{
    bool inside = false;
    int number = 1;
    for (char *line = text, *next; *line; line = next, number++) {
        next = page_next_line(line);
        if (strncmp(line, "```", 3) != 0)
            continue;
        if (inside) {
            *line = 0;
        } else {
            page_demand(list->count < MOST_BLOCKS, page, "it has too many blocks");
            list->items[list->count++] = block_of_fence(page, number, line);
        }
        inside = !inside;
    }
    page_demand(!inside, page, "a fence is not closed");
}

/* The blocks of all pages, read once and kept. */
static inline const BlockList *all_blocks(void)
{
    static char *texts[PAGES];
    static BlockList all;
    for (int i = 0; i < PAGES && !texts[i]; i++) {
        texts[i] = page_read(pages[i]);
        page_blocks(pages[i], texts[i], &all);
    }
    return &all;
}

static inline void blocks_select(BlockList *list, bool wanted(const Block *block))
{
    const BlockList *all = all_blocks();
    for (int i = 0; i < all->count; i++) {
        if (wanted(&all->items[i]))
            list->items[list->count++] = all->items[i];
    }
}

#endif
