/* Files that are wrong, as the user of cmc meets them: data, weights, checkpoints.  Each ends with status 1 and a message that
 * names the file and what is wrong with it, and nothing is written. */
#include "tests/api/cmc.h"

static const char model[] =
    "dim D = 2\n"
    "fn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  0.1 * z + 0.5\n}\n"
    "model Net() {\n  param w: f32[D] = zeros\n  fn call(x: f32[.., D]) -> f32[.., D] = x + w\n}\n"
    "loss fit(net: Net, x0: f32[B, D]) -> f32 = mean((net(0.0 * x0) - x0)^2)\n"
    "sample draw(net: Net)[B = 4] -> f32[B, D] = net(zeros[B, D])\n"
    "eval distance(net: Net, x0: f32[B, D])[B = 8] -> f32 = mean((x0 - net(0.0 * x0))^2)\n"
    "data points = { x0: %s }\n"
    "train fitting { loss = fit, data = points, optimizer = adam(lr = 0.1), batch = 16, steps = 5, ema = 0.9 }\n";

static void write_model(const char *name, const char *source)
{
    char text[2048];
    snprintf(text, sizeof text, model, source);
    write_text(name, text);
}

/* ---- making files ---- */

/* An .npy file whose header makes a claim, and so many bytes, each 0. */
static void write_npy(const char *name, const char *element, const char *shape, size_t bytes)
{
    static unsigned char file[4096];
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY\1\0\x76\0", 10);
    int length = snprintf((char *)file + 10, 119, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", element, shape);
    memset(file + 10 + length, ' ', (size_t)(117 - length));
    file[127] = '\n';
    write_bytes(name, file, 128 + bytes);
}

/* A safetensors file: the header, and so many bytes, each 0. */
static void write_tensors(const char *name, const char *header, size_t bytes)
{
    static unsigned char file[4096];
    size_t length = strlen(header);
    memset(file, 0, sizeof file);
    file[0] = (unsigned char)length, file[1] = (unsigned char)(length >> 8);
    memcpy(file + 8, header, length);
    write_bytes(name, file, 8 + length + bytes);
}

static void set_up(void)
{
    make_directory();
    write_model("model.cm", "generate(N = 64, cloud)");
    write_npy("good.npy", "<f4", "(32, 2)", 256);
    write_npy("short.npy", "<f4", "(32, 2)", 240);
    write_npy("long.npy", "<f4", "(32, 2)", 260);
    write_npy("wide.npy", "<f4", "(32, 3)", 384);
    write_npy("flat.npy", "<f4", "(64,)", 256);
    write_npy("double.npy", "<f8", "(32, 2)", 512);
    write_npy("whole.npy", "<i4", "(32, 2)", 256);
    write_npy("huge.npy", "<f4", "(3000000000, 2)", 256);
    write_npy("overflow.npy", "<f4", "(4611686018427387904, 2)", 256);
    write_npy("negative.npy", "<f4", "(-1, 2)", 256);
    write_npy("none.npy", "<f4", "(0, 2)", 0);
    write_npy("few.npy", "<f4", "(8, 2)", 64);
    write_text("text.npy", "hello, this is no array, but a text that is long enough for a header\n");
    write_text("nothing.npy", "");
    write_bytes("image-idx", "\0\0\x08\2\0\0\0\5\0\0\0\2abcdefghij", 22);
    write_bytes("short-idx", "\0\0\x08\2\0\0\0\5\0\0\0\2abcdefgh", 20);
    write_bytes("huge-idx",
                "\0\0\x08\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                "abcd",
                20);
    ck_assert_int_eq(shell("gzip -k image-idx huge-idx && head -c 20 image-idx.gz > cut-idx.gz && mkdir pictures cellar && "
                           "cp text.npy pictures/a.png"),
                     0);
    write_tensors("good.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[32,2],\"data_offsets\":[0,256]}}", 256);
    write_tensors("short.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[32,2],\"data_offsets\":[0,256]}}", 100);
    write_tensors("claim.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,256]}}",
                  256);
    write_tensors("short_type.safetensors", "{\"x\":{\"dtype\":\"I16\",\"shape\":[32,2],\"data_offsets\":[0,128]}}", 128);
    write_bytes("header.safetensors", "\0\0\0\0\0\1\0\0{}", 10);
    write_tensors("fits.safetensors", "{\"net.w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    write_tensors("other.safetensors",
                  "{\"net.w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                  "\"net.v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}",
                  20);
}

/* ---- data ---- */

static const struct {
    const char *source;
    const char *part; /* of the message; each line of it is wanted */
} data_faults[] = {
    {"npy(\"nowhere.npy\") as f32[N, D]", "error[data_missing]: field 'x0': there is no 'nowhere.npy'"},
    {"npy(\"short.npy\") as f32[N, D]", "'short.npy': header says f32[32,2], 256 bytes of data; the file has 240"},
    {"npy(\"long.npy\") as f32[N, D]", "'long.npy': header says f32[32,2], 256 bytes of data; the file has 260"},
    {"npy(\"wide.npy\") as f32[N, D]", "error[data_type]\nnpy(\"wide.npy\"): expected f32[N,2], found f32[32,3]"},
    {"npy(\"flat.npy\") as f32[N, D]", "expected f32[N,2], found f32[64]"},
    {"npy(\"double.npy\") as f32[N, D]", "expected f32[N,2], found f64[32,2]\ndeclare it as f64"},
    {"npy(\"whole.npy\") as f32[N, D]", "expected f32[N,2], found i32[32,2]"},
    {"npy(\"huge.npy\") as f32[N, D]",
     "'huge.npy': header says f32[3000000000,2], 24000000000 bytes of data; the file has 256"},
    {"npy(\"overflow.npy\") as f32[N, D]", "'overflow.npy': claims more elements than fit in memory"},
    {"npy(\"negative.npy\") as f32[N, D]", "'negative.npy': the header's shape holds something that is not a size"},
    {"npy(\"none.npy\") as f32[N, D]", "error[data_samples]: data set 'points' has no samples"},
    {"npy(\"few.npy\") as f32[N, D]", "fitting: a batch of 16 does not fit data set 'points': it has 8 samples"},
    {"npy(\"text.npy\") as f32[N, D]", "'text.npy': not an .npy file"},
    {"npy(\"nothing.npy\") as f32[N, D]", "'nothing.npy': not an .npy file"},
    {"npy(\"cellar\") as f32[N, D]", "'cellar' is not a regular file"},
    {"npz(\"good.npy\", \"x\") as f32[N, D]", "'good.npy': not an .npz file"},
    {"idx(\"good.npy\") as u8[N, D]", "'good.npy': not an idx file"},
    {"idx(\"image-idx\") as f32[N, D]", "expected f32[N,2], found u8[5,2]"},
    {"idx(\"short-idx\") as u8[N, D]", "'short-idx': header says u8[5,2], 10 bytes of data; the file has 8"},
    {"idx(\"huge-idx\") as u8[N, D]", "'huge-idx': claims more elements than fit in memory"},
    {"idx(\"huge-idx.gz\") as u8[N, D]", "'huge-idx.gz': claims more elements than fit in memory"},
    {"idx(\"cut-idx.gz\") as u8[N, D]", "'cut-idx.gz': the compressed data ends too early"},
    {"safetensors(\"good.safetensors\", \"y\") as f32[N, D]", "'good.safetensors': has no array 'y'; it has 'x'"},
    {"safetensors(\"short.safetensors\", \"x\") as f32[N, D]",
     "'short.safetensors': its arrays take 256 bytes, its data has 100"},
    {"safetensors(\"claim.safetensors\", \"x\") as f32[N, D]", "'claim.safetensors': array 'x' claims more elements"},
    {"safetensors(\"short_type.safetensors\", \"x\") as f32[N, D]", "array 'x' has element type I16, which cm lacks"},
    {"safetensors(\"header.safetensors\", \"x\") as f32[N, D]", "'header.safetensors': not a safetensors file, or ends inside"},
    {"png_folder(\"nowhere\") as u8[N, D]", "error[data_missing]: field 'x0': there is no 'nowhere'"},
    {"png_folder(\"cellar\") as u8[N, D]", "the folder 'cellar' has no .png files"},
    {"png_folder(\"pictures\") as u8[N, D]", "'pictures/a.png': not a PNG file"},
};
enum { DATA_FAULTS = sizeof data_faults / sizeof *data_faults };

START_TEST(wrong_data_are_told)
{
    char source[256];
    snprintf(source, sizeof source, strncmp(data_faults[_i].source, "npy(\"", 5) ? "%s |> (x => x as f32)" : "%s",
             data_faults[_i].source);
    write_model("data.cm", source);
    expect_fault(&(Fault){"train data.cm", 1, data_faults[_i].part});
    ck_assert_msg(!is_there("out"), "something was written");
    if (!strstr(data_faults[_i].part, "batch"))
        expect_fault(&(Fault){"eval data.cm --untrained", 1, data_faults[_i].part});
}
END_TEST

START_TEST(data_of_a_pipe_are_refused)
{
    write_model("data.cm", "npy(\"pipe\") as f32[N, D]");
    ck_assert_int_eq(shell("mkfifo pipe"), 0);
    expect_fault(&(Fault){"train data.cm", 1, "'pipe' is not a regular file"});
}
END_TEST

/* ---- weights ---- */

static const Fault weight_faults[] = {
    {"eval model.cm -w nowhere.safetensors", 1, "cannot open 'nowhere.safetensors': No such file"},
    {"eval model.cm -w text.npy", 1, "'text.npy': not an .npy file"},
    {"eval model.cm -w model.cm", 1, "model.cm: arrays are read from .safetensors"},
    {"eval model.cm -w short.safetensors", 1, "'short.safetensors': its arrays take 256 bytes"},
    {"eval model.cm -w other.safetensors", 1,
     "wrong type of parameter: 'net.w' is f32[3] there, f32[2] here\n"
     "not used: 'net.v' f32[2]\nweights were read from other.safetensors"},
    {"sample model.cm -w good.safetensors", 1,
     "missing parameter: 'net.w' f32[2]\nnot used: 'x' f32[32,2]\n"
     "weights were read from good.safetensors"},
    {"sample model.cm -w ned=fits.safetensors", 2, "no model ned is wanted here"},
    {"train model.cm -w other.safetensors", 1, "the weights do not fit fitting\n'net.w' is f32[3] there, f32[2] here\n'net.v'"},
    {"train model.cm -w good.safetensors", 1, "the weights do not fit fitting\nmissing: 'net.w' f32[2]\nnot used: 'x'"},
    {"run model.cm draw --set B=4 -w good.safetensors", 1, "the inputs of draw do not fit\nmissing parameter: 'net.w'"},
};
enum { WEIGHT_FAULTS = sizeof weight_faults / sizeof *weight_faults };

START_TEST(wrong_weights_are_told)
{
    expect_fault(&weight_faults[_i]);
    ck_assert_msg(!is_there("out"), "something was written");
}
END_TEST

START_TEST(weights_that_fit_are_taken)
{
    expect_ran(cmc("eval model.cm -w fits.safetensors"), 0, "");
    expect_ran(cmc("eval model.cm -w net=fits.safetensors"), 0, "");
    expect_ran(cmc("train model.cm -w fits.safetensors -o trained"), 0, "");
}
END_TEST

/* ---- checkpoints ---- */

static void train_first(void)
{
    set_up();
    expect_ran(cmc("train model.cm -q"), 0, "");
}

static void keep_files(void)
{
    ck_assert_int_eq(shell("cat out/fitting/* > before"), 0);
}

static void expect_kept_files(void)
{
    ck_assert_msg(shell("cat out/fitting/* | cmp - before") == 0, "something was written over");
}

START_TEST(a_checkpoint_of_another_model_is_told)
{
    keep_files();
    ck_assert_int_eq(shell("sed 's/param w: f32.D. =/param v: f32[D] =/; s/x + w/x + v/' model.cm > other.cm"), 0);
    expect_fault(&(Fault){"train other.cm --resume -q", 1,
                          "'out/fitting/checkpoint.safetensors' does not fit this program\nmissing: 'net.v' f32[2]\n"
                          "missing: 'ema.net.v' f32[2]\nunexpected: 'net.w' f32[2]\nunexpected: 'opt.net.w"});
    ck_assert_int_eq(shell("sed 's/dim D = 2/dim D = 3/' model.cm > wide.cm"), 0);
    expect_fault(&(Fault){"train wide.cm --resume -q", 1, "wrong type: 'net.w' is f32[2] there, f32[3] here"});
    expect_fault(&(Fault){"train model.cm --resume --seed 3", 1, "that run has seed 0, this one 3"});
    expect_kept_files();
}
END_TEST

/* Cut or changed anywhere, a checkpoint is told apart from a whole one, and stays as it is. */
START_TEST(a_damaged_checkpoint_is_told)
{
    static const char *const damage[] = {
        "head -c 100 whole",
        "head -c 400 whole",
        "head -c -1 whole",
        "cat whole whole",
        ": nothing",
        "tail -c +9 whole",
        "sed s/cm.step/cm.stop/ whole",
        "sed s/F32/F33/ whole",
        "sed 's/\"[0-9]*\",\"cm.seed/\"-1\",\"cm.seed/' whole",
        "cat model.cm",
        "head -c -1 whole; printf X",
    };
    ck_assert_int_eq(shell("cp out/fitting/checkpoint.safetensors whole"), 0);
    ck_assert_int_eq(shell("{ %s; } > out/fitting/checkpoint.safetensors", damage[_i]), 0);
    keep_files();
    expect_fault(&(Fault){"train model.cm --resume -q", 1, "out/fitting/checkpoint.safetensors"});
    expect_kept_files();
}
END_TEST

START_TEST(a_checkpoint_that_is_not_there_is_told)
{
    expect_ran(cmc("train model.cm --resume -o elsewhere"), 0, "there is no elsewhere/checkpoint.safetensors: the run begins");
}
END_TEST

static TCase *wrong_files(void)
{
    TCase *test = tcase_create("files");
    tcase_set_timeout(test, 60);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, wrong_data_are_told, 0, DATA_FAULTS);
    tcase_add_test(test, data_of_a_pipe_are_refused);
    tcase_add_loop_test(test, wrong_weights_are_told, 0, WEIGHT_FAULTS);
    tcase_add_test(test, weights_that_fit_are_taken);
    return test;
}

static TCase *checkpoints(void)
{
    TCase *test = tcase_create("checkpoints");
    tcase_set_timeout(test, 60);
    tcase_add_checked_fixture(test, train_first, remove_directory);
    tcase_add_test(test, a_checkpoint_of_another_model_is_told);
    tcase_add_loop_test(test, a_damaged_checkpoint_is_told, 0, 11);
    tcase_add_test(test, a_checkpoint_that_is_not_there_is_told);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {wrong_files, checkpoints, NULL};
    return run_suite("faults_data", cases);
}
