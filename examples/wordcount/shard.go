package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// suffixes are those of the files that are taken for text.
var suffixes = []string{".go", ".txt", ".md", ".s", ".c", ".h"}

// findInput is dir, or the sources of the Go that is installed.
func findInput(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		return "", errors.New("there is no Go to take the sources of; give a directory with text: -input DIR")
	}
	return filepath.Join(root, "src"), nil
}

// textFiles lists the text files below dir, sorted, with their total size in bytes.
func textFiles(dir string) (files []string, size int64, err error) {
	// WalkDir does not follow a link, but the input may be one.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, 0, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		for _, s := range suffixes {
			if strings.HasSuffix(path, s) {
				info, err := d.Info()
				if err != nil {
					return err
				}
				files, size = append(files, path), size+info.Size()
			}
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no text (%s) below %s", strings.Join(suffixes, " "), dir)
	}
	return files, size, err
}

// openAll reads files one after the other, with a line end between two.
func openAll(files []string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		for _, name := range files {
			f, err := os.Open(name)
			if err == nil {
				_, err = io.Copy(w, f)
				f.Close()
			}
			if err == nil {
				_, err = io.WriteString(w, "\n")
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.Close()
	}()
	return r
}

func shardName(i int) string { return fmt.Sprintf("shard-%03d.txt", i) }

// split writes what r gives into n files of about size/n bytes in dir, none of which ends
// within a word.
func split(r io.Reader, size int64, n int, dir string) error {
	in := bufio.NewReaderSize(r, 256<<10)
	each := size/int64(n) + 1
	for i := range n {
		f, err := os.Create(filepath.Join(dir, shardName(i)))
		if err != nil {
			return err
		}
		out := bufio.NewWriterSize(f, 256<<10)
		for written := int64(0); ; {
			line, err := in.ReadSlice('\n')
			written += int64(len(line))
			if _, err := out.Write(line); err != nil {
				return errors.Join(err, f.Close())
			}
			if err == io.EOF || err == nil && written >= each && i < n-1 {
				break
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) { // a very long line goes on
				return errors.Join(err, f.Close())
			}
		}
		if err := errors.Join(out.Flush(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
