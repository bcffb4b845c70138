#!/bin/bash
# What a trained model is used with, from the command line: clip_eval, clip_embed, clip_search,
# clip_export, on a model trained for two steps on the reference images.
. tests/shell.sh

# ---- the model ----
mkdir -p "$folder/photos/deep" "$folder/classes/gray" "$folder/classes/colour"
photos "$folder/photos"
images=("$folder"/photos/*.png)
p=${#images[@]} # at least four, each with two captions
cp "${images[0]}" "$folder/classes/gray/1.png"
cp "${images[1]}" "${images[2]}" "$folder/classes/colour"
printf 'gray\ncolourful\tcolour\n' >"$folder/classes.txt"
printf 'an image of a {}\nthe {}\n' >"$folder/templates.txt"
pairs photos >"$folder/pairs.csv"
tail -n +2 "$folder/pairs.csv" | cut -d, -f2 >"$folder/texts.txt"
{
    tiny_model
    tiny_run "$folder/pairs.csv" "$folder/run" 2
} >"$folder/tiny.ini"
check "a tokenizer is trained" run 0 clip_data tokenizer train --input "$folder/texts.txt" \
    --vocab-size 520 --output "$folder/tokenizer.txt"
check "a model is trained" run 0 clip_train --config "$folder/tiny.ini" --quiet
model=(--model "$folder/run" --quiet)

# ---- clip_eval ----
check "classify lists each label" prints 0 ' %  ' clip_eval classify "${model[@]}" \
    --image "${images[0]}" 'gray' 'rgb'
check "classify takes images in front of the labels" prints 0 '"labels":["gray"],"images":["' \
    clip_eval classify "${model[@]}" --image "${images[0]}" "${images[1]}" gray --json
check "one label has all the probability" prints 0 '"probabilities":[[1.0],[1.0]]' \
    clip_eval classify "${model[@]}" --image "${images[0]}" "${images[1]}" gray --json
check "classify --json is one line" json '' clip_eval classify "${model[@]}" --json \
    --image "${images[0]}" --template '{}' gray 'a "rgb"'
check "classify without labels is wrong usage" says 2 'LABEL' clip_eval classify "${model[@]}" \
    --image "${images[0]}"
check "a template without a place for the label is wrong usage" says 2 'has no {}' clip_eval \
    classify "${model[@]}" --image "${images[0]}" --template 'a photo' gray
check "classify names an image that is not there" says 1 'none.png' clip_eval classify \
    "${model[@]}" --image "$folder/none.png" gray
check "classify names a model that is not there" says 1 "$folder/none" clip_eval classify \
    --model "$folder/none" --image "${images[0]}" gray
check "a folder is classified in a table" prints 0 " of $p" clip_eval classify "${model[@]}" \
    --images "$folder/photos" gray 'rgb|colour' --template-set photo
check "... with a label of several names" prints 0 '"labels":["gray","rgb"],"images":["' \
    clip_eval classify "${model[@]}" --images "$folder/photos" gray 'rgb|colour' --json
check "... and none of these" prints 0 '(none of these)' clip_eval classify "${model[@]}" \
    --images "$folder/photos" gray rgb --none 1
check "none of these is null" prints 0 '"best":[null]' clip_eval classify "${model[@]}" \
    --image "${images[0]}" gray rgb --none-similarity 1 --json
check "labels come from a file too" prints 0 '"labels":["gray","colourful"]' clip_eval classify \
    "${model[@]}" --image "${images[0]}" --labels "$folder/classes.txt" --json
check "classify without an image is wrong usage" says 2 '--image' clip_eval classify \
    "${model[@]}" gray
check "similarity shows a matrix" prints 0 'the rgb one' clip_eval similarity "${model[@]}" \
    --image "${images[@]}" --text 'the rgb one' 'the gray one'
check "... in bfloat16 too" prints 0 'the rgb one' clip_eval similarity "${model[@]}" \
    --precision bf16 --image "${images[@]}" --text 'the rgb one' 'the gray one'
check "similarity --json is one line" json '' clip_eval similarity "${model[@]}" --json \
    --image "${images[@]}" --text 'the rgb one' 'the gray one'
echo nothing >"$folder/broken.png"
broken=(--image "${images[0]}" "$folder/broken.png" "$folder/none.png" "${images[1]}")
both() { # both TEXT OTHER COMMAND...: exit status 1, TEXT on stdout and OTHER on stderr
    prints 1 "$1" "${@:3}" && [[ $err == *"$2"* ]] && return
    echo "# \"$err\" without \"$2\""
    return 1
}
for command in classify similarity; do
    words=(gray rgb)
    [ $command = similarity ] && words=(--text gray rgb)
    check "$command goes on past a broken image" both \
        "\"images\":[\"${images[0]}\",\"${images[1]}\"]" "skipped: $folder/broken.png" \
        clip_eval $command "${model[@]}" "${broken[@]}" "${words[@]}" --json
    check "... counts it" both '"skipped":2' '2 images or folders could not be read' \
        clip_eval $command "${model[@]}" "${broken[@]}" "${words[@]}" --json
    check "... and shows the others" prints 1 "${images[1]}" clip_eval $command "${model[@]}" \
        "${broken[@]}" "${words[@]}"
    check "... unless there are none" says 1 'no image of 2' clip_eval $command \
        "${model[@]}" --image "$folder/broken.png" "$folder/none.png" "${words[@]}"
    check "... or it is the only one" says 1 "$folder/broken.png: " clip_eval $command \
        "${model[@]}" --image "$folder/broken.png" "${words[@]}"
done
check "zeroshot counts images" prints 0 '"n":3,' clip_eval zeroshot "${model[@]}" --json \
    --images "$folder/classes" --classes "$folder/classes.txt" --templates "$folder/templates.txt"
check "zeroshot has no acc5 of two classes" prints 0 '"acc5":null' clip_eval zeroshot \
    "${model[@]}" --json --images "$folder/classes" --classes "$folder/classes.txt" \
    --templates "$folder/templates.txt"
check "zeroshot tells the accuracy" prints 0 'zero-shot accuracy: ' clip_eval zeroshot \
    "${model[@]}" --images "$folder/classes" --classes "$folder/classes.txt" \
    --templates "$folder/templates.txt"
check "zeroshot has intervals" prints 0 '"low":' clip_eval zeroshot "${model[@]}" --json \
    --images "$folder/classes" --classes "$folder/classes.txt" --template-set small
check "zeroshot tells what is taken for what" prints 0 'taken for' clip_eval zeroshot \
    "${model[@]}" --confusion --images "$folder/classes" --classes "$folder/classes.txt" \
    --template-set plain
check "class folders are packed" run 0 clip_data pack "$folder/classes" --class-templates \
    "$folder/templates.txt" --output "$folder/classes.h5" --quiet
run 0 clip_eval zeroshot "${model[@]}" --json --images "$folder/classes" --classes \
    "$folder/classes.txt" --templates "$folder/templates.txt"
unpacked=$out
check "... which zeroshot reads to the same figures" prints 0 "$unpacked" clip_eval zeroshot \
    "${model[@]}" --json --images "$folder/classes.h5" --classes "$folder/classes.txt" \
    --templates "$folder/templates.txt"
check "zeroshot without templates is wrong usage" says 2 '--template-set' clip_eval zeroshot \
    "${model[@]}" --images "$folder/classes" --classes "$folder/classes.txt"
check "retrieval knows captions of one image" prints 0 \
    "\"images\":$p,\"texts\":$((2 * p))," clip_eval retrieval "${model[@]}" --json \
    --data "$folder/pairs.csv"
check "retrieval within ten is always right" prints 0 '"text_retrieval_recall@10":1.0' clip_eval \
    retrieval "${model[@]}" --data "$folder/pairs.csv" --json
check "retrieval shows a table" prints 0 'text -> image' clip_eval retrieval "${model[@]}" \
    --data "$folder/pairs.csv"
check "the loss of batches of one is 0" prints 0 \
    "\"loss\":0.0,\"batch_size\":1,\"batches\":$((2 * p))," clip_eval loss "${model[@]}" --json \
    --data "$folder/pairs.csv" --batch-size 1
check "a smaller last batch counts too" prints 0 "\"batches\":$(((2 * p + 2) / 3))," \
    clip_eval loss "${model[@]}" --data "$folder/pairs.csv" --batch-size 3 --json

check "... by the loss that the model was trained with" prints 0 '"kind":"infonce"' \
    clip_eval loss "${model[@]}" --data "$folder/pairs.csv" --json
check "... which --loss names too" prints 0 'infonce loss: ' clip_eval loss "${model[@]}" \
    --data "$folder/pairs.csv" --loss infonce
check "a loss that the model cannot have is refused" says 1 'siglip loss needs a logit_bias' \
    clip_eval loss "${model[@]}" --data "$folder/pairs.csv" --loss siglip
check "... and one that there is not" says 2 'expected one of infonce|siglip' \
    clip_eval loss "${model[@]}" --data "$folder/pairs.csv" --loss hinge

# ---- clip_embed ----
check "images of a folder are embedded" prints 0 "\"rows\":$p,\"dim\":16" \
    clip_embed "${model[@]}" --images "$folder/photos" --output "$folder/a.h5" --json
check "a row of a .csv is a row" prints 0 "\"rows\":$((2 * p))," clip_embed "${model[@]}" \
    --images "$folder/pairs.csv" --output "$folder/a.safetensors" --json
check "texts are embedded" prints 0 "\"rows\":$((2 * p))," clip_embed "${model[@]}" \
    --texts "$folder/texts.txt" --output "$folder/a.npy" --json
check "a .npy has its names beside it" test -s "$folder/a.npy.names.json"
echo nothing >"$folder/photos/deep/broken.png"
check "a broken image is named, skipped and told at the end" says 1 'deep/broken.png' clip_embed \
    "${model[@]}" --images "$folder/photos" --output "$folder/b.h5"
check "the others are written" prints 0 '' clip_embed "${model[@]}" --images "${images[@]}" \
    --output "$folder/c.h5"
check "broken images leave no trace in the file" cmp "$folder/b.h5" "$folder/c.h5"
check "--raw rows are others" run 0 clip_embed "${model[@]}" --images "${images[@]}" --raw \
    --output "$folder/d.h5"
check "... of the same size" test "$(stat -c %s "$folder/c.h5")" = "$(stat -c %s "$folder/d.h5")"
check "... and not the same" test "$(cksum <"$folder/c.h5")" != "$(cksum <"$folder/d.h5")"
check "an output of no known format is wrong usage" says 2 '.safetensors' clip_embed \
    "${model[@]}" --images "${images[@]}" --output "$folder/a.txt"
check "images and texts at once are wrong usage" says 2 'one of' clip_embed "${model[@]}" \
    --images "${images[0]}" --texts "$folder/texts.txt" --output "$folder/x.h5"
check "an output folder that is not there is named" says 1 "$folder/no" clip_embed "${model[@]}" \
    --texts "$folder/texts.txt" --output "$folder/no/x.h5"
check "hidden states come beside the embeddings" prints 0 "\"rows\":$((2 * p))," clip_embed \
    "${model[@]}" --texts "$folder/texts.txt" --hidden-states penultimate --json \
    --output "$folder/h.safetensors"
check "... in whole rows" grep -aqF \
    "\"hidden_states\":{\"dtype\":\"F32\",\"shape\":[$((2 * p)),16,16]" \
    "$folder/h.safetensors"
check "... and after the norm" grep -aqF '"hidden_states_ln":' "$folder/h.safetensors"
check "another padding gives other states" run 0 clip_embed "${model[@]}" \
    --texts "$folder/texts.txt" --hidden-states penultimate --padding end \
    --output "$folder/g.safetensors"
check "... which are others" test "$(cksum <"$folder/g.safetensors")" != \
    "$(cksum <"$folder/h.safetensors")"
check "hidden states are of texts or tensors" says 2 'texts or --tensors' clip_embed "${model[@]}" \
    --images "${images[@]}" --hidden-states last --output "$folder/x.h5"
check "a gradient needs tensors" says 2 '--grad goes with --tensors' clip_embed "${model[@]}" \
    --texts "$folder/texts.txt" --grad --output "$folder/x.h5"
inside=tests/reference/openclip_tiny/inside.safetensors
if [ -e "$inside" ]; then
    check "the gradient by the pixels is written" run 0 clip_embed --quiet --grad \
        --model tests/reference/openclip_tiny/open_clip_model.safetensors --tensors "$inside" \
        --output "$folder/p.safetensors"
    check "... for each pixel" grep -aqF '"pixel_grad":{"dtype":"F32","shape":[3,3,12,12]' \
        "$folder/p.safetensors"
fi
if [ -e tests/reference/openclip_tiny/expected.safetensors ]; then
    check "tensors need no tokenizer" prints 0 'rows of' clip_embed \
        --model tests/reference/openclip_tiny/open_clip_model.safetensors --quiet \
        --tensors tests/reference/openclip_tiny/expected.safetensors \
        --output "$folder/t.safetensors"
    check "... and texts do" says 1 'tokenizer' clip_embed --quiet \
        --model tests/reference/openclip_tiny/open_clip_model.safetensors \
        --texts "$folder/texts.txt" --output "$folder/t.h5"
fi

# ---- clip_search ----
index=$folder/photos.index
check "an index is made" prints 0 '"count":2,"added":2' clip_search index "${model[@]}" \
    --images "${images[0]}" "${images[1]}" --output "$index" --json
check "again, only what is new is added" prints 1 \
    "\"count\":$p,\"added\":$((p - 2)),\"skipped\":1" clip_search index "${model[@]}" \
    --images "$folder/photos" --output "$index" --json
check "an image finds itself" prints 0 "{\"results\":[{\"path\":\"${images[3]}\",\"score\":" \
    clip_search query --index "$index" --image "${images[3]}" --top 1 --json
check "words find images" prints 0 "$folder/photos/" clip_search query --index "$index" \
    --text 'an image of a gray' --minus 'the rgb one' --top 2
check "--top is a number of results" test "$(wc -l <"$folder/out")" -eq 2
said=$(cat "$folder/out")
check "plain words are one text" prints 0 "$said" clip_search query --index "$index" \
    an image of a gray --minus 'the rgb one' --top 2
check "an index of texts is made" prints 0 '"kind":"texts","count":' clip_search index \
    "${model[@]}" --texts "$folder/texts.txt" --output "$folder/texts.index" --json
check "a text finds itself" prints 0 '{"results":[{"text":"the rgba one","score":' clip_search \
    query --index "$folder/texts.index" --text 'the rgba one' --top 1 --json
check "images find texts" prints 0 'the ' clip_search query --index "$folder/texts.index" \
    --image "${images[0]}"
check "images do not go among texts" says 1 'index of texts' clip_search index "${model[@]}" \
    --images "${images[0]}" --output "$folder/texts.index"
check "a query that asks for nothing is wrong usage" says 2 '--text' clip_search query \
    --index "$index"
check "queries that cancel are told" says 1 'cancel' clip_search query --index "$index" \
    --text 'the rgb one' --minus 'the rgb one'
check "an index that is none is named" says 1 'texts.txt' clip_search query \
    --index "$folder/texts.txt" --text a

# ---- an index of the weights as trained ----
check "a model with a moving average" run 0 clip_train --config "$folder/tiny.ini" --quiet \
    --ema-decay 0.9 --lr 0.01 --output "$folder/averaged"
raw=$folder/raw.index
check "an index of the raw weights" json '"weights":"raw"' clip_search index --json --weights raw \
    --model "$folder/averaged" --images "$folder/classes" --output "$raw"
check "... remembers them when it is brought up to date" json '"unchanged":.*"weights":"raw"' \
    clip_search index --json --model "$folder/averaged" --images "$folder/classes" --output "$raw"
check "... and for queries" prints 0 "$folder/classes/" clip_search query --index "$raw" gray
check "... which may say so" prints 0 "$folder/classes/" clip_search query --index "$raw" gray \
    --weights raw
check "... and not otherwise" says 1 'made with the raw weights' clip_search query \
    --index "$raw" gray --weights ema
check "... nor the page" says 1 'made with the raw weights' clip_search serve --port 0 "$raw" \
    --weights ema
check "... nor a later run" says 1 'leave --weights ema out' \
    clip_search index --json --weights ema \
    --model "$folder/averaged" --images "$folder/classes" --output "$raw"
check "... which stays after compact" run 0 clip_search compact --index "$raw"
check "... and is queried" prints 0 "$folder/classes/" clip_search query --index "$raw" gray
check "... until it is started over" json '"weights":"ema"' clip_search index --json --weights ema \
    --force --model "$folder/averaged" --images "$folder/classes" --output "$raw"
check "... to the average" says 1 'made with the ema weights' clip_search query \
    --index "$raw" gray --weights raw

# ---- clip_export ----
for format in hdf5 safetensors; do
    for dtype in f32 f16 bf16; do
        file=$folder/e_$dtype.${format/hdf5/h5}
        check "export as $format $dtype" run 0 clip_export --model "$folder/run" \
            --format $format --dtype $dtype --output "$file"
        check "... is used as a model" prints 0 '[[1.0]]' clip_eval classify --model "$file" \
            --image "${images[0]}" gray --json
    done
done
check "an export of the export is the same" run 0 clip_export --model "$folder/e_f32.h5" \
    --format safetensors --output "$folder/again.safetensors"
check "... to the byte" cmp "$folder/again.safetensors" "$folder/e_f32.safetensors"
check "an index serves the exported model" prints 0 "$folder/photos/" clip_search query \
    --index "$index" --model "$folder/e_f32.safetensors" --text 'the rgb one'
check "... but not other weights" says 1 'other weights' clip_search query --index "$index" \
    --model "$folder/e_bf16.h5" --text 'the rgb one'
check "a folder for open_clip is written" run 0 clip_export --model "$folder/run" \
    --format open_clip --output "$folder/e_open_clip"
check "... and not written over" says 2 '--force' clip_export --model "$folder/run" \
    --format open_clip --output "$folder/e_open_clip"
check "... but when asked" run 0 clip_export --model "$folder/run" --format open_clip \
    --output "$folder/e_open_clip" --force
for format in huggingface gguf; do
    check "export as $format" run 0 clip_export --model "$folder/run" --format $format \
        --output "$folder/e_$format"
    check "... comes back the same" run 0 clip_export --model "$folder/e_$format" \
        --format hdf5 --output "$folder/back.h5" --tokenizer "$folder/tokenizer.txt"
    check "... to the byte" cmp "$folder/back.h5" "$folder/e_f32.h5"
done
export_by_name() {
    json "\"format\": ?\"$1\"" clip_export --model "$folder/run" --json --output "$folder/$2"
}
check "the name tells safetensors" export_by_name safetensors named.safetensors
check "the name tells hdf5" export_by_name hdf5 named.H5
check "the name tells gguf" export_by_name gguf named.gguf
check "... whose bytes are those of --format gguf" cmp "$folder/named.gguf" "$folder/e_gguf"
check "a folder's name tells no format" says 2 'give --format' clip_export \
    --model "$folder/run" --output "$folder/named"
check "a name of another format is refused" says 2 '--format gguf contradicts' clip_export \
    --model "$folder/run" --format gguf --output "$folder/named.onnx"
check "... and nothing is written" test ! -e "$folder/named.onnx"
check "a format that is not written is wrong usage" says 2 'safetensors' clip_export \
    --model "$folder/run" --format pickle --output "$folder/x"
plan
