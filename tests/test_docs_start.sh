#!/bin/bash
# What a new user types first: the commands of the READMEs, of docs/export.md and docs/tokenizer.md
# as they stand there, in a folder that has what they name. The models and the configurations' are
# tiny, and runs end after two steps.
. tests/shell.sh

# ---- what the commands name ----
photos "$folder/photos"
photos "$folder/Images"
cp "$folder/photos/rgb_41x23.png" "$folder/some.png"
cp "$folder/some.png" "$folder/some.jpg" # told by its content
ln -s "$build" "$folder/build"
cp -r configs "$folder"
sed -i -e 's/^\(epochs\|steps\) = .*/steps = 2/' -e 's/_width = .*/_width = 16/' \
    -e 's/_heads = .*/_heads = 2/' -e 's/_layers = .*/_layers = 1/' \
    -e 's/^image_size = .*/image_size = 16/' "$folder"/configs/*.ini
printf 'filepath\ttitle\n' | tee "$folder/pairs.tsv" >"$folder/val.tsv"
for ((i = 0; i < 140; i++)); do # enough for a batch of any configuration
    bitmap "$i $((i * 7919))" >"$folder/photos/$i.bmp"
    printf 'photos/%s.bmp\ta dog in the snow, the %sth 雪地里的狗\n' $i $i
done >>"$folder/pairs.tsv"
pairs photos | tail -n +2 | tr ',' '\t' >>"$folder/val.tsv"
cut -f2 "$folder/val.tsv" | tee "$folder/lines.txt" >"$folder/captions.txt"
mkdir -p "$folder/FOLDER/gray" "$folder/FOLDER/rgb"
cp "$folder"/photos/gray*.png "$folder/FOLDER/gray"
cp "$folder"/photos/rgb*.png "$folder/FOLDER/rgb"
printf 'gray\nrgb\n' >"$folder/classes.txt"
printf 'an image of a {}\n' >"$folder/templates.txt"
{
    tiny_model
    cat <<END
[data]
train_data = pairs.tsv
tokenizer = tokenizer.txt
[train]
steps = 2
batch_size = 8
END
} >"$folder/tiny.ini"
here=$folder
check "a tokenizer is trained" run 0 clip_data tokenizer train --input val.tsv --vocab-size 520 \
    --output tokenizer.txt
check "a model is trained" run 0 clip_train --config tiny.ini --output runs/small

# The model that --init names, as hf download leaves it.
export HF_HOME=$folder/huggingface
hub=$HF_HOME/hub/models--openai--clip-vit-base-patch32
mkdir -p "$hub/refs" "$hub/snapshots"
commit=0123456789abcdef0123456789abcdef01234567
echo $commit >"$hub/refs/main"
check "a model lies in Hugging Face's cache" run 0 clip_export --model runs/small \
    --format huggingface --output "$hub/snapshots/$commit"

# ---- the commands ----
fresh() { (cd "$folder" && rm -rf runs/mine runs/tuned photos.index* frames small-hf mine-hf); }
page README.md 12
fresh # as for another reader
page README.zh.md 8
fresh
page docs/export.md 1
page docs/tokenizer.md 2

# ---- the configurations ----
for config in configs/*.ini; do
    [ "$config" = configs/finetune.ini ] && continue # its sizes are a model's
    check "$config is a configuration" run 0 clip_train --config "$config" --dry-run \
        --train-data pairs.tsv --val-data= --class-templates= --zeroshot-images= --batch-size 8 \
        --tokenizer tokenizer.txt --best-metric val_loss
done
plan
